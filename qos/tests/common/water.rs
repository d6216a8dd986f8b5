//! Hierarchical max-min sharing in closed form, in exact fractions: what every class gets when
//! demands stand still. Written from the semantics, not from the engine.

use std::collections::BTreeMap;
use std::ops::{Add, Div, Mul, Sub};

use qos::{ClassConfig, ClassId, TreeConfig};

/// An exact fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ratio {
    top: i128,
    bottom: i128,
}

impl Ratio {
    pub(crate) fn new(top: i128, bottom: i128) -> Self {
        let mut gcd = (top.abs(), bottom.abs());
        while gcd.1 != 0 {
            gcd = (gcd.1, gcd.0 % gcd.1);
        }
        let gcd = gcd.0.max(1) * bottom.signum();
        Self {
            top: top / gcd,
            bottom: bottom / gcd,
        }
    }

    pub(crate) fn whole(value: u64) -> Self {
        Self::new(value.into(), 1)
    }

    fn min(self, other: Self) -> Self {
        if self.less(other) { self } else { other }
    }

    fn less(self, other: Self) -> bool {
        self.top * other.bottom < other.top * self.bottom
    }

    #[allow(clippy::cast_precision_loss)] // for comparing with a tolerance
    pub(crate) fn as_f64(self) -> f64 {
        self.top as f64 / self.bottom as f64
    }
}

impl Add for Ratio {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(
            self.top * other.bottom + other.top * self.bottom,
            self.bottom * other.bottom,
        )
    }
}

impl Sub for Ratio {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + Self::new(-other.top, other.bottom)
    }
}

impl Mul for Ratio {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::new(self.top * other.top, self.bottom * other.bottom)
    }
}

impl Div for Ratio {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self::new(self.top * other.bottom, self.bottom * other.top)
    }
}

const NOTHING: Ratio = Ratio { top: 0, bottom: 1 };

/// Bit/s that each leaf gets, given what each one asks for (absent: nothing).
pub(crate) fn fill(
    tree: &TreeConfig,
    demands: &BTreeMap<ClassId, u64>,
) -> BTreeMap<ClassId, Ratio> {
    let mut shares = BTreeMap::new();
    let root = tree
        .classes
        .iter()
        .find(|class| class.parent.is_none())
        .unwrap();
    let most = demand(tree, demands, root);
    pour(tree, demands, root, most, &mut shares);
    shares
}

fn children(tree: &TreeConfig, parent: ClassId) -> Vec<&ClassConfig> {
    let of = |class: &&ClassConfig| class.parent == Some(parent);
    tree.classes.iter().filter(of).collect()
}

/// What a class can use: its leaves' demands, cut by every ceiling from them up to it.
fn demand(tree: &TreeConfig, demands: &BTreeMap<ClassId, u64>, class: &ClassConfig) -> Ratio {
    let below = children(tree, class.id);
    let asked = if below.is_empty() {
        Ratio::whole(demands.get(&class.id).copied().unwrap_or(0))
    } else {
        let each = below.iter().map(|child| demand(tree, demands, child));
        each.fold(NOTHING, Ratio::add)
    };
    match class.ceil {
        Some(ceil) => asked.min(Ratio::whole(ceil.bits_per_second())),
        None => asked,
    }
}

/// Divides what a class gets: guarantees, then by priority, then by weight.
fn pour(
    tree: &TreeConfig,
    demands: &BTreeMap<ClassId, u64>,
    class: &ClassConfig,
    capacity: Ratio,
    shares: &mut BTreeMap<ClassId, Ratio>,
) {
    let below = children(tree, class.id);
    if below.is_empty() {
        shares.insert(class.id, capacity);
        return;
    }
    let wants: Vec<Ratio> = below.iter().map(|c| demand(tree, demands, c)).collect();
    let guarantee = |c: &ClassConfig| {
        c.rate
            .map_or(NOTHING, |r| Ratio::whole(r.bits_per_second()))
    };
    let pairs = below.iter().zip(&wants);
    let mut got: Vec<Ratio> = pairs.map(|(c, &want)| guarantee(c).min(want)).collect();
    let mut left = got.iter().fold(capacity, |left, &share| left - share);
    for prio in 0..4 {
        let mut thirsty: Vec<usize> = (0..below.len())
            .filter(|&n| below[n].prio == prio && got[n].less(wants[n]))
            .collect();
        while !thirsty.is_empty() && NOTHING.less(left) {
            let weight = |n: usize| Ratio::whole(below[n].weight.unwrap().into());
            let sum = thirsty.iter().fold(NOTHING, |sum, &n| sum + weight(n));
            // The level rises until the first is full or nothing is left.
            let level = thirsty.iter().fold(left / sum, |level, &n| {
                level.min((wants[n] - got[n]) / weight(n))
            });
            for &n in &thirsty {
                let drink = level * weight(n);
                got[n] = got[n] + drink;
                left = left - drink;
            }
            thirsty.retain(|&n| got[n].less(wants[n]));
        }
    }
    for (child, share) in below.into_iter().zip(got) {
        pour(tree, demands, child, share, shares);
    }
}

//! Makes a guest of what a device has.

use qos::{ClassId, Framing};

use super::{Device, HtbClass};
use crate::config::Direction;
use crate::import::amount::quantum;
use crate::import::{Branch, Class, Guest, ImportError, Limits, Place, device};

/// The last of our priorities; HTB has eight.
const LAST_PRIO: u8 = 3;

/// The guest of one device.
///
/// # Errors
/// A class without parent, or below itself.
pub(super) fn guest(from: &Device) -> Result<Guest, ImportError> {
    let place = Place::line(from.line);
    let mut guest = Guest::new(from.name.as_deref().unwrap_or("tc"));
    let direction = from
        .name
        .as_deref()
        .map_or(Direction::ToGuest, device::egress);
    match &from.name {
        Some(name) => {
            guest.behind = device::behind(&place.key("dev"), name)?;
            guest.notes.push(match direction {
                Direction::ToGuest => format!("what leaves {name} is taken to be what the guest receives"),
                Direction::FromGuest => format!("what leaves {name} is what all guests send together"),
            });
        }
        None => guest.notes.push(
            "which device it was is not said: it is taken to be a guest's tap, and this what it receives"
                .to_owned(),
        ),
    }
    guest.notes.extend(from.notes.iter().cloned());
    *guest.branch_mut(direction) = branch(from)?;
    Ok(guest)
}

fn branch(from: &Device) -> Result<Branch, ImportError> {
    let Some(tree) = Tree::new(&from.classes)? else {
        return Ok(Branch::of(from.tbf.clone().unwrap_or_default()));
    };
    let mut branch = Branch::of(tree.own());
    let below = from
        .classes
        .iter()
        .filter(|class| tree.guest != Some(class.id));
    branch.classes = below.map(|class| tree.class(class)).collect();
    if !branch.classes.is_empty() {
        branch.default = Some(tree.default(from.default, &mut branch.own));
    }
    Ok(branch)
}

/// The classes of a device.
struct Tree<'a> {
    classes: &'a [HtbClass],
    /// The only one without parent, which is the guest itself.
    guest: Option<ClassId>,
}

impl<'a> Tree<'a> {
    fn new(classes: &'a [HtbClass]) -> Result<Option<Self>, ImportError> {
        let mut top = classes.iter().filter(|class| class.parent.is_none());
        let guest = match (top.next(), top.next()) {
            (Some(only), None) => Some(only.id),
            _ => None,
        };
        let tree = Self { classes, guest };
        for class in classes {
            tree.check(class)?;
        }
        Ok((!classes.is_empty()).then_some(tree))
    }

    /// Whether a class leads to the qdisc.
    fn check(&self, class: &HtbClass) -> Result<(), ImportError> {
        let place = Place::line(class.line).key("parent");
        let mut at = class;
        for _ in self.classes {
            let Some(parent) = at.parent else {
                return Ok(());
            };
            let above = self.classes.iter().find(|class| class.id == parent);
            at = above.ok_or_else(|| ImportError::Unknown {
                place: Place::line(at.line),
                what: "class",
                name: parent.to_string(),
                hint: "give the line of every class".to_owned(),
            })?;
        }
        match at.parent {
            None => Ok(()),
            Some(_) => Err(place.value(class.id, "a class cannot be below itself")),
        }
    }

    /// The guest's own limits.
    fn own(&self) -> Limits {
        let guest = self
            .classes
            .iter()
            .find(|class| self.guest == Some(class.id));
        guest.map_or_else(Limits::default, |class| Limits {
            // Nobody shares with it here.
            weight: None,
            rate: None,
            burst: None,
            ..self.limits(class)
        })
    }

    fn class(&self, class: &HtbClass) -> Class {
        let parent = class.parent.filter(|parent| self.guest != Some(*parent));
        Class {
            name: name(class.id),
            parent: parent.map(name),
            limits: self.limits(class),
        }
    }

    fn limits(&self, class: &HtbClass) -> Limits {
        let mut limits = Limits {
            rate: Some(class.rate),
            burst: class.burst,
            weight: self.weight(class),
            prio: u8::try_from(class.prio).unwrap_or(u8::MAX).min(LAST_PRIO),
            notes: class.notes.clone(),
            ..Limits::default()
        };
        (limits.ceil, limits.cburst) = match (class.parent, class.ceil) {
            (None, _) => (Some(class.rate), class.burst),
            (_, None) => (Some(class.rate), class.cburst),
            (_, ceil) => (ceil, class.cburst),
        };
        let above = class
            .ceil
            .filter(|ceil| class.parent.is_none() && *ceil > class.rate);
        if let Some(ceil) = above {
            limits.note(format!(
                "ceil {ceil} of {} is never reached there: a class without parent has its rate alone",
                class.id
            ));
        }
        if class.prio > u64::from(LAST_PRIO) {
            limits.note(format!(
                "prio {}: the last one here is {LAST_PRIO}",
                class.prio
            ));
        }
        // The guest's counts for all below it.
        limits.framing = Some(class.framing).filter(|own| *own != self.framing_above(class));
        limits
    }

    /// In what a class would be counted that does not say.
    fn framing_above(&self, class: &HtbClass) -> Framing {
        let parent = self.classes.iter().find(|it| class.parent == Some(it.id));
        parent.map_or(Framing::ETHERNET, |parent| parent.framing)
    }

    /// Its share, if a quantum is written at it or beside it; otherwise the rates say it.
    fn weight(&self, class: &HtbClass) -> Option<u32> {
        let mut siblings = self.classes.iter().filter(|it| it.parent == class.parent);
        siblings.find(|it| it.quantum.is_some())?;
        Some(
            class
                .quantum
                .unwrap_or_else(|| quantum(class.rate.bits_per_second()))
                .max(1),
        )
    }

    /// The leaf of what no filter takes.
    fn default(&self, minor: Option<u16>, own: &mut Limits) -> String {
        let is_leaf = |class: &&HtbClass| self.classes.iter().all(|it| it.parent != Some(class.id));
        let mut leaves = self.classes.iter().filter(is_leaf);
        let named = leaves.clone().find(|class| Some(class.id.minor) == minor);
        if let Some(class) = named {
            return name(class.id);
        }
        own.note(match minor {
            Some(minor) => format!(
                "default {minor:x} is no class: such frames passed without limit there; here they are of the \
                 last class"
            ),
            None => "which class frames belong to say filters there: write rules, or another default".to_owned(),
        });
        leaves
            .next_back()
            .map_or_else(String::new, |class| name(class.id))
    }
}

/// A class's name: a colon cannot be in one.
fn name(id: ClassId) -> String {
    id.to_string().replace(':', "-")
}

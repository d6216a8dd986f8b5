//! Random numbers that anybody can have again, and how many of them.

use std::time::SystemTime;

/// Numbers that anybody can have again (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(what: &str) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(1, |now| u64::from(now.subsec_nanos()) | 1);
        let seed = setting("NETQOS_HOSTILE_SEED").unwrap_or(now);
        println!("{what}: NETQOS_HOSTILE_SEED={seed}");
        Self(seed.max(1))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound
    }

    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        let at = self.below(choices.len() as u64);
        choices[usize::try_from(at).unwrap_or(0)]
    }

    pub(crate) fn word(&mut self) -> u32 {
        let odd = [0, 1, 2, 3, 255, 256, 65_535, 65_536, u32::MAX];
        if self.once_in(2) {
            self.of(&odd)
        } else {
            u32::try_from(self.below(1 << 32)).unwrap_or(0)
        }
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number")),
    )
}

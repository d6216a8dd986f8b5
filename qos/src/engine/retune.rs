//! Other settings for one class of a running tree, in constant time.

use super::class::{Kind, NONE, State};
use super::users::Users;
use super::{Engine, flows};
use crate::class::{
    ClassConfig, Family, LeafQueue, Link, Member, Profile, Settings, TreeError, check_alone,
    check_limitless, check_sum, ticks,
};
use crate::fair::{Fair, Seats};
use crate::time::Time;
use crate::units::Rate;

/// What changes of single classes are held against, and how rows are shared.
#[derive(Debug, Default)]
pub(super) struct Books {
    pub(super) link: Link,
    /// By the numbers of the children's queues.
    pub(super) families: Vec<Family>,
    /// How many classes use each profile.
    pub(super) users: Users,
    /// Classes that count segments.
    pub(super) counting: u32,
    /// All classes charge alike, and segments cost no time.
    pub(super) alike: bool,
}

/// A change of one class that may be made.
struct Change {
    index: u32,
    old: Profile,
    new: Settings,
    /// Of the class's parent, with the class as it will be.
    family: Family,
    link: Link,
}

impl Engine {
    /// Gives one class other settings, at once and without a look at any other but its ancestors: in
    /// about a microsecond, whether the tree has ten classes or 100,000, where
    /// [`apply`](Self::apply) goes through all of them. (Now and then a table doubles.)
    ///
    /// Everything may change but the parent, the kind of queue, the framing and whose limits it has;
    /// new limits are also those of the classes that share them. The class keeps its
    /// key, its frames, its counters and its lead over its siblings. Limits keep credit and debt in
    /// bytes and segments; one that is new starts with its burst spent.
    ///
    /// What would follow for other classes does so when the next tree is applied: the automatic quanta
    /// of its siblings and of all below it, of all classes if it is the root; and the least targets of
    /// flow queues below a ceiling that changed. Trees applied later have to contain the change, or they
    /// undo it.
    ///
    /// # Errors
    /// As for a whole tree; or there is no such class, or it would need another parent, kind of queue
    /// or framing. Nothing has changed then. Also under [`Overcommit::Scale`](crate::Overcommit)
    /// guarantees have to fit, next to those of the siblings as they were scaled.
    pub fn retune(&mut self, class: &ClassConfig, now: Time) -> Result<(), TreeError> {
        let change = self.admit(class)?;
        self.settle();
        let now = self.clock(now);
        let (index, old, new) = (change.index, &change.old, &change.new);
        self.part_twins(Some(index));
        self.carry_over(index, old, &new.profile, now);
        self.rewrite(&change);
        self.requeue_one(index, new);
        let followers = self.limit_followers(index, &new.profile, now);
        self.rejoin_twins(index);
        self.reseat(index, old, &new.profile, now);
        for (follower, old, new) in followers {
            self.reseat(follower, &old, &new, now);
        }
        self.place_twins_of(index, now);
        Ok(())
    }

    /// Gives classes that have the limits of this one its new ones; returns what they ran by and run by.
    fn limit_followers(
        &mut self,
        owner: u32,
        limits: &Profile,
        now: Time,
    ) -> Vec<(u32, Profile, Profile)> {
        let followers = self.followers(owner).into_iter();
        let change = |follower| {
            let old = *self.profile(self.class(follower));
            let new = old.limited_as(limits);
            self.carry_over(follower, &old, &new, now);
            self.reprofile(follower, &old, new);
            (follower, old, new)
        };
        followers.map(change).collect()
    }

    /// The classes that have the limits of this one.
    fn followers(&self, owner: u32) -> Vec<u32> {
        if self.twins.owner(owner).is_some() {
            return Vec::new();
        }
        let all = self.twins.all(owner);
        all.filter(|&class| class != owner).collect()
    }

    /// What the change would be, if the tree may run with it.
    fn admit(&self, config: &ClassConfig) -> Result<Change, TreeError> {
        let id = config.id;
        let &index = self.index.get(&id).ok_or(TreeError::Unknown { id })?;
        let class = self.class(index);
        let old = *self.profile(class);
        let parent = self.classes.get(class.parent as usize);
        let other = |what| Err(TreeError::Reshaped { id, what });
        if config.parent != parent.map(|parent| parent.id) {
            return other("parent");
        }
        if class.is_leaf() && Kind::of(config.queue) != class.kind {
            return other("kind of queue");
        }
        let above = parent.map(|parent| self.profile(parent).framing());
        let framing = config.framing.or(above).unwrap_or_default();
        if framing != old.framing() {
            return other("framing");
        }
        let owner = self.twins.owner(index).map(|owner| self.class(owner));
        if config.limits_of != owner.map(|owner| owner.id) {
            return other("limits_of");
        }
        let limits = owner.map(|owner| *self.profile(owner));
        let mut config = config.clone();
        if let (Some(owner), Some(limits)) = (owner, &limits) {
            check_limitless(&config, owner.id)?;
            config.ceil = Rate::from_bits_per_second(limits.ceiling);
        }
        let config = &config;
        for follower in self.followers(index) {
            let class = self.class(follower);
            let rate = Rate::from_bits_per_second(self.profile(class).guarantee);
            if let (Some(rate), Some(ceil)) = (rate, config.ceil)
                && rate > ceil
            {
                let id = class.id;
                return Err(TreeError::RateAboveCeil { id, rate, ceil });
            }
        }
        let member = Member {
            config,
            is_root: parent.is_none(),
            has_children: !class.is_leaf(),
            rate: config.rate.map_or(0, Rate::bits_per_second),
            framing,
            lid: self.lid(class.parent).into_iter().chain(config.ceil).min(),
        };
        let link = self.link_with(&member);
        check_alone(&link, &member)?;
        let family = self.books.families.get(class.above as usize);
        let family = family.map_or_else(Family::default, |family| family.with(&old, &member));
        if let Some(parent) = parent {
            let given = match parent.parent {
                NONE => self.books.link.rate.map(Rate::bits_per_second),
                _ => Some(self.profile(parent).guarantee),
            };
            check_sum(parent.id, family.guaranteed, given)?;
        }
        if let Some(own) = self.family(index) {
            check_sum(id, own.guaranteed, member.given())?;
        }
        let mut new = member.settings(&link, parent.map(|_| &family));
        if let Some(limits) = &limits {
            new.profile = new.profile.limited_as(limits);
        }
        Ok(Change {
            index,
            old,
            new,
            family,
            link,
        })
    }

    /// What the tree says for all classes when this one is changed.
    fn link_with(&self, member: &Member<'_>) -> Link {
        let mut link = self.books.link;
        if member.is_root {
            link.rate = member.config.rate.or(member.config.ceil);
        }
        link
    }

    /// The lowest ceiling from a class to the root.
    fn lid(&self, index: u32) -> Option<Rate> {
        let up = |index: u32| self.classes.get(index as usize);
        let way = std::iter::successors(up(index), |class| up(class.parent));
        let ceilings = way.map(|class| self.profile(class).ceiling);
        ceilings.filter_map(Rate::from_bits_per_second).min()
    }

    /// What an inner class keeps of its children.
    fn family(&self, index: u32) -> Option<&Family> {
        let class = self.class(index);
        let inner = Some(class.body).filter(|_| !class.is_leaf())?;
        self.books.families.get(inner as usize)
    }

    /// Writes the new settings down, and what others are held against from now on.
    fn rewrite(&mut self, change: &Change) {
        let (index, old, new) = (change.index, &change.old, &change.new);
        let class = self.class(index);
        let (above, body) = (class.above, class.body);
        let (is_root, is_leaf) = (class.parent == NONE, class.is_leaf());
        self.reprofile(index, old, new.profile);
        let books = &mut self.books;
        if let Some(family) = books.families.get_mut(above as usize) {
            *family = change.family;
        }
        if let Some(family) = books.families.get_mut(body as usize).filter(|_| !is_leaf) {
            family.share = new.share;
        }
        if is_root {
            books.link = change.link;
            self.segment_bytes = books.link.segment_bytes();
        }
    }

    /// Gives a class another row of settings.
    fn reprofile(&mut self, index: u32, old: &Profile, new: Profile) {
        let number = self.class(index).profile;
        let books = &mut self.books;
        let number = books.users.change(&mut self.profiles, number, new);
        let [before, after] = [old, &new].map(|profile| u32::from(profile.pps.is_limit()));
        books.counting = books.counting.saturating_sub(before).saturating_add(after);
        self.plain = books.alike && books.counting == 0;
        self.class_mut(index).profile = number;
    }

    /// Gives a leaf's queue its new settings.
    fn requeue_one(&mut self, index: u32, new: &Settings) {
        let class = self.class_mut(index);
        match (new.queue, class.kind) {
            (LeafQueue::Fifo { frames }, Kind::Fifo) => class.fifo.limit = frames,
            (LeafQueue::Flows(config), Kind::Flows) => {
                let body = class.body as usize;
                let unit = self.books.link.unit();
                let profile = &new.profile;
                if let Some(flows) = self.flows.get_mut(body) {
                    let (framing, quantum) = (profile.framing(), profile.quantum);
                    let settings = flows::Settings::new(config, framing, quantum, unit);
                    flows.retune(self.sets.change(flows.settings(), settings));
                }
            }
            _ => {}
        }
    }

    /// Moves a class whose settings are new from where it was to where it now belongs, and its ancestors
    /// as far as that concerns them.
    fn reseat(&mut self, index: u32, old: &Profile, new: &Profile, now: Time) {
        let was = self.class(index).state;
        let state = self.want(index, ticks(now));
        self.wheel.disarm(index);
        if was == State::Throttled {
            self.end_wait(index);
        }
        let alike = (old.prio, old.green, old.excess) == (new.prio, new.green, new.excess);
        if state == was && alike {
            self.arm(index, state);
            return;
        }
        let class = self.class(index);
        let (parent, above) = (class.parent, class.above as usize);
        let mut before = 0;
        if let Some(fair) = self.inners.get_mut(above) {
            before = fair.ready();
            let classes = self.classes.as_mut_slice();
            if was.may_send() {
                let tier = was.tier(old.prio);
                fair.remove(classes, index, tier, old.share(tier));
            }
            let shares = [&new.green, &new.excess];
            fair.reshare(classes.seat_mut(index), [old.prio, new.prio], shares);
        }
        if state == was && !state.may_send() {
            self.arm(index, state);
        } else {
            self.join(index, state, was.may_send());
        }
        if self.inners.get(above).map_or(0, Fair::ready) != before {
            self.place(parent, now);
        }
    }
}

#[cfg(test)]
mod tests;

//! Which instances of a service to make and which to end: the pure heart of scaling and rolling updates.
use std::collections::BTreeSet;

use mesh_api::{
    probe::share,
    service::{Rollout, RolloutType},
};

/// An instance as the rollout sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// Its object's name.
    pub name: String,
    /// Its revision.
    pub revision: String,
    /// Its number within the revision.
    pub ordinal: u32,
    /// It serves.
    pub ready: bool,
    /// It is being ended already.
    pub deleting: bool,
}

/// What should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The current revision.
    pub revision: &'a str,
    /// How many instances.
    pub replicas: u32,
    /// Which kind of rollout applies.
    pub type_: RolloutType,
    /// Its bounds.
    pub rollout: &'a Rollout,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Ordinals of the current revision to make.
    pub create: Vec<u32>,
    /// Names of instances to end.
    pub delete: Vec<String>,
}

/// How far a rollout may go from the wanted number of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// How many more there may be.
    pub surge: u32,
    /// How many fewer may serve.
    pub unavailable: u32,
}

/// The bounds for so many replicas. Where percentages leave room for nothing, one may be unavailable, as with a Deployment: else it would never move.
pub fn bounds(rollout: &Rollout, replicas: u32) -> Bounds {
    let surge = share(&rollout.max_surge, replicas, true);
    let unavailable = share(&rollout.max_unavailable, replicas, false);
    Bounds { surge, unavailable: if surge == 0 { unavailable.max(1) } else { unavailable } }
}

/// The next step from what exists to what is wanted. Called again after each change, until it says nothing.
pub fn plan(wanted: &Wanted<'_>, existing: &[Existing]) -> Plan {
    let (current, old): (Vec<&Existing>, Vec<&Existing>) =
        existing.iter().filter(|instance| !instance.deleting).partition(|instance| instance.revision == wanted.revision);
    let (kept, surplus) = keep_best(current, wanted.replicas);
    let mut delete: Vec<&Existing> = surplus;
    let create = match wanted.type_ {
        RolloutType::Recreate => {
            delete.extend(&old);
            let old_is_gone = existing.iter().all(|instance| instance.revision == wanted.revision);
            if old_is_gone { missing(&kept, wanted.replicas) } else { 0 }
        }
        RolloutType::RollingUpdate => {
            let ending = retire(wanted, &kept, &old);
            let total = count(kept.len()) + count(old.len());
            delete.extend(ending);
            let ceiling = wanted.replicas.saturating_add(bounds(wanted.rollout, wanted.replicas).surge);
            missing(&kept, wanted.replicas).min(ceiling.saturating_sub(total))
        }
    };
    Plan { create: free_ordinals(wanted.revision, existing, create), delete: delete.into_iter().map(|i| i.name.clone()).collect() }
}

/// Whether instances of the current revision must be made, now or once others have ended. Where that is impossible, nothing that runs
/// may be ended for them either.
pub fn lacks_instances(wanted: &Wanted<'_>, existing: &[Existing]) -> bool {
    let there = existing.iter().filter(|instance| !instance.deleting && instance.revision == wanted.revision).count();
    count(there) < wanted.replicas
}

/// The instances of the current revision that stay, ready ones and low ordinals first, and the others.
fn keep_best(mut current: Vec<&Existing>, replicas: u32) -> (Vec<&Existing>, Vec<&Existing>) {
    current.sort_by_key(|instance| (!instance.ready, instance.ordinal));
    let keep = current.len().min(usize::try_from(replicas).unwrap_or(usize::MAX));
    let surplus = current.split_off(keep);
    (current, surplus)
}

/// The old instances that may go now: first those that do not serve, then as many that serve as availability allows.
fn retire<'a>(wanted: &Wanted<'_>, kept: &[&Existing], old: &[&'a Existing]) -> Vec<&'a Existing> {
    let minimum = wanted.replicas.saturating_sub(bounds(wanted.rollout, wanted.replicas).unavailable);
    let unready_new = count(kept.iter().filter(|i| !i.ready).count());
    let ready_new = count(kept.len()) - unready_new;
    let mut by_health = old.to_vec();
    by_health.sort_by_key(|instance| (instance.ready, std::cmp::Reverse(instance.ordinal), instance.name.clone()));
    let ready_old = count(old.iter().filter(|i| i.ready).count());
    // Where new instances wait to become ready, an old one that fails just now may be all there is: do not use up the margin on it.
    let mut unready_quota = (count(kept.len()) + count(old.len())).saturating_sub(minimum + unready_new);
    let mut ready_quota = (ready_new + ready_old).saturating_sub(minimum);
    by_health
        .into_iter()
        .filter(|instance| {
            let quota = if instance.ready { &mut ready_quota } else { &mut unready_quota };
            let may = *quota > 0;
            *quota = quota.saturating_sub(1);
            may
        })
        .collect()
}

fn missing(kept: &[&Existing], replicas: u32) -> u32 {
    replicas.saturating_sub(count(kept.len()))
}

/// The lowest ordinals that no object of this revision has, one being deleted included: its name is still taken.
fn free_ordinals(revision: &str, existing: &[Existing], how_many: u32) -> Vec<u32> {
    let taken: BTreeSet<u32> = existing.iter().filter(|i| i.revision == revision).map(|i| i.ordinal).collect();
    (0..u32::MAX).filter(|ordinal| !taken.contains(ordinal)).take(usize::try_from(how_many).unwrap_or(usize::MAX)).collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use proptest::prelude::*;

    use super::*;

    fn instance(revision: &str, ordinal: u32, ready: bool) -> Existing {
        Existing { name: format!("web-{revision}-{ordinal}"), revision: revision.into(), ordinal, ready, deleting: false }
    }

    fn next(replicas: u32, type_: RolloutType, existing: &[Existing]) -> Plan {
        plan(&Wanted { revision: "b", replicas, type_, rollout: &Rollout::default() }, existing)
    }

    fn rolling(replicas: u32, existing: &[Existing]) -> Plan {
        next(replicas, RolloutType::RollingUpdate, existing)
    }

    fn deletes(names: &[&str]) -> Plan {
        Plan { create: vec![], delete: names.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn the_first_instances_are_made_all_at_once() {
        // The surge bounds what is above `replicas`, so all that are missing may be made.
        assert_eq!(rolling(3, &[]), Plan { create: vec![0, 1, 2], delete: vec![] });
    }

    #[test]
    fn scaling_down_ends_what_does_not_serve_first_then_the_highest_numbers() {
        let existing = [instance("b", 0, false), instance("b", 1, true), instance("b", 2, true)];
        assert_eq!(rolling(2, &existing), deletes(&["web-b-0"]));
        assert_eq!(rolling(1, &existing), deletes(&["web-b-2", "web-b-0"]));
    }

    #[test]
    fn a_rollout_makes_one_more_then_ends_one_old_per_new_that_is_ready() {
        let old = [instance("a", 0, true), instance("a", 1, true)];
        assert_eq!(rolling(2, &old), Plan { create: vec![0], delete: vec![] });
        let waiting = [old[0].clone(), old[1].clone(), instance("b", 0, false)];
        assert_eq!(rolling(2, &waiting), Plan::default());
        let ready = [old[0].clone(), old[1].clone(), instance("b", 0, true)];
        assert_eq!(rolling(2, &ready), deletes(&["web-a-1"]));
    }

    #[test]
    fn a_number_is_not_given_again_while_its_object_is_still_there() {
        let mut going = instance("b", 0, true);
        going.deleting = true;
        assert_eq!(rolling(1, &[going]), Plan { create: vec![1], delete: vec![] });
    }

    #[test]
    fn a_broken_rollout_is_replaced_by_the_next_one() {
        let stuck = [instance("a", 0, true), instance("broken", 0, false)];
        assert_eq!(rolling(1, &stuck), deletes(&["web-broken-0"]));
    }

    #[test]
    fn recreate_waits_until_the_last_old_object_is_gone() {
        let mut old = instance("a", 0, true);
        assert_eq!(next(1, RolloutType::Recreate, std::slice::from_ref(&old)), deletes(&["web-a-0"]));
        old.deleting = true;
        assert_eq!(next(1, RolloutType::Recreate, &[old]), Plan::default());
        assert_eq!(next(1, RolloutType::Recreate, &[]), Plan { create: vec![0], delete: vec![] });
    }

    #[test]
    fn instances_are_lacking_as_long_as_the_current_revision_is_not_complete() {
        let mut going = instance("b", 0, true);
        going.deleting = true;
        let lacks = |replicas, existing: &[Existing]| {
            lacks_instances(&Wanted { revision: "b", replicas, type_: RolloutType::Recreate, rollout: &Rollout::default() }, existing)
        };
        assert!(lacks(1, &[]));
        assert!(lacks(1, &[going]), "one that ends is to be replaced");
        assert!(lacks(1, &[instance("a", 0, true)]), "an old one must not be ended for a new one that cannot be made");
        assert!(!lacks(1, &[instance("b", 0, false), instance("a", 0, true)]), "ready or not, it is there");
        assert!(!lacks(1, &[instance("b", 0, true), instance("b", 1, true)]));
        assert!(!lacks(0, &[instance("a", 0, true)]));
    }

    #[test]
    fn percentages_round_in_favour_of_service_but_never_to_a_standstill() {
        for (surge, unavailable, replicas, expected) in [
            ("25%", "25%", 4, (1, 1)),
            ("25%", "25%", 5, (2, 1)),
            ("0%", "10%", 3, (0, 1)),
            ("0%", "50%", 4, (0, 2)),
            ("1", "0", 3, (1, 0)),
        ] {
            let value = |text: &str| text.parse().map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int);
            let rollout = Rollout { max_surge: value(surge), max_unavailable: value(unavailable), ..Rollout::default() };
            let found = bounds(&rollout, replicas);
            assert_eq!((found.surge, found.unavailable), expected, "{surge} {unavailable} of {replicas}");
        }
    }

    proptest! {
        /// Whatever happens to the instances meanwhile, a rollout keeps its bounds and comes to an end.
        #[test]
        fn a_rollout_keeps_its_bounds_and_ends(replicas in 0_u32..8, old in 0_u32..8, surge in 0_i32..3, unavailable in 0_i32..3, order in any::<u64>()) {
            prop_assume!(surge + unavailable > 0);
            let rollout = Rollout { max_surge: IntOrString::Int(surge), max_unavailable: IntOrString::Int(unavailable), ..Rollout::default() };
            let wanted = Wanted { revision: "b", replicas, type_: RolloutType::RollingUpdate, rollout: &rollout };
            let mut world: Vec<Existing> = (0..old).map(|n| instance("a", n, true)).collect();
            for step in 0..200_u64 {
                let plan = plan(&wanted, &world);
                world.iter_mut().filter(|i| plan.delete.contains(&i.name)).for_each(|i| i.deleting = true);
                let serving = world.iter().filter(|i| i.ready && !i.deleting).count();
                prop_assert!(serving >= usize::try_from(replicas.saturating_sub(unavailable.cast_unsigned()).min(old)).unwrap());
                world.extend(plan.create.iter().map(|n| instance("b", *n, false)));
                let alive = world.iter().filter(|i| !i.deleting).count();
                prop_assert!(alive <= usize::try_from((replicas + surge.cast_unsigned()).max(old)).unwrap());
                // One thing happens in the world at a time: an instance becomes ready, or one that is ending is gone.
                let pick = usize::try_from(order.rotate_left(u32::try_from(step % 64).unwrap()) % 7).unwrap();
                if let Some(waiting) = world.iter().position(|i| i.deleting || !i.ready).map(|first| (first + pick).min(world.len() - 1)) {
                    if world[waiting].deleting { world.remove(waiting); } else { world[waiting].ready = true; }
                }
                world.iter_mut().filter(|i| !i.deleting).for_each(|i| if step % 3 == 0 { i.ready = true });
                if step % 5 == 0 { world.retain(|i| !i.deleting); }
            }
            prop_assert_eq!(world.iter().filter(|i| !i.deleting && i.revision == "b" && i.ready).count(), usize::try_from(replicas).unwrap());
            prop_assert!(world.iter().all(|i| i.deleting || i.revision == "b"));
        }
    }
}

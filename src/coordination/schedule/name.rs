//! What the run of a slot is called.
use jiff::Timestamp;

use mesh_api::names;

/// The name of the run of a slot: `<task>-<seconds since 1970>`, as a CronJob's with its minutes. It is the same whoever decides the slot,
/// so a second create of it conflicts.
pub fn slot_name(task: &str, slot: Timestamp) -> String {
    names::run(task, &slot.as_second().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_run_is_named_after_its_task_and_its_slot() {
        assert_eq!(slot_name("backup", at(1_795_873_080)), "backup-1795873080");
        assert_ne!(slot_name("backup", at(1_795_873_081)), slot_name("backup", at(1_795_873_080)));
        let fits = "a".repeat(52);
        assert_eq!(slot_name(&fits, at(1_795_873_080)), format!("{fits}-1795873080"));
    }

    #[test]
    fn a_name_that_would_be_too_long_is_cut_and_told_apart_by_its_digest() {
        let long = format!("{}-{}", "a".repeat(42), "b".repeat(20));
        assert_eq!(slot_name(&long, at(1_795_873_080)), format!("{}-ef8d7b62-1795873080", "a".repeat(42)));
        let other = format!("{}-{}", "a".repeat(42), "c".repeat(20));
        assert_ne!(slot_name(&long, at(1)), slot_name(&other, at(1)));
        for seconds in [0, 1, 1_795_873_080, 253_402_207_200] {
            assert!(slot_name(&long, at(seconds)).len() <= 63);
        }
    }
}

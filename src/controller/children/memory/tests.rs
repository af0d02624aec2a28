//! How often an object is written, whatever happens to it.
use serde_json::json;

use super::{
    super::drift::{Path, Step},
    *,
};

fn difference(live: &str) -> Difference {
    Difference { path: Path(vec![Step::Field("image".to_owned())]), live: json!(live) }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn an_object_that_is_changed_again_and_again_is_put_right_ever_more_slowly_and_then_called_contested() {
    let (mut child, begin) = (Child::default(), Instant::now());
    let mut healed = Vec::new();
    for second in 0..1200 {
        let now = begin + seconds(second);
        child.quieten(now);
        if child.healing_waits(now).is_none() {
            healed.push((second, child.heals(now)));
        }
    }
    let begin = [(0, false), (1, false), (3, true), (7, true), (15, true), (31, true), (63, true), (127, true), (255, true), (511, true)];
    assert_eq!(healed[..10], begin);
    assert_eq!(healed[10..], [(811, true), (1111, true)], "every five minutes at the most");
}

#[tokio::test]
async fn ten_minutes_of_quiet_end_a_fight() {
    let (mut child, begin) = (Child::default(), Instant::now());
    for second in [0, 1, 3] {
        child.heals(begin + seconds(second));
    }
    child.contest = Some("somebody changes it".to_owned());
    assert_eq!(child.quieten(begin + seconds(3)), Some(seconds(600)));
    assert!(child.contest.is_some());
    assert_eq!(child.quieten(begin + seconds(604)), None);
    assert!(child.contest.is_none() && child.healing_waits(begin + seconds(604)).is_none());
}

#[tokio::test]
async fn what_the_api_server_makes_of_a_field_is_accepted_until_it_changes() {
    let (mut child, now) = (Child::default(), Instant::now());
    assert_eq!(child.unexplained(vec![difference("b")]).len(), 1);
    child.wrote("hash", None, vec![difference("b")], true, now);
    assert_eq!(child.unexplained(vec![difference("b")]), []);
    assert_eq!(child.unexplained(vec![difference("c")]).len(), 1);
}

#[tokio::test]
async fn a_write_is_waited_for_in_the_cache() {
    let (mut child, now) = (Child::default(), Instant::now());
    let over = Some("7".to_owned());
    child.wrote("hash", over, Vec::new(), true, now);
    assert_eq!(child.is_behind(Some("7"), now + seconds(1)), Some(seconds(9)));
    assert_eq!(child.is_behind(Some("8"), now + seconds(1)), None, "it is there");
    child.wrote("hash", None, Vec::new(), true, now);
    assert_eq!(child.is_behind(None, now + seconds(11)), None, "it is not waited for for ever");
}

#[tokio::test]
async fn what_was_refused_is_asked_for_again_after_a_while_or_when_it_has_changed() {
    let (mut child, now) = (Child::default(), Instant::now());
    let refusal = || Refusal { reason: "RejectedByCluster", message: "no".to_owned() };
    assert_eq!(child.refuse("a", refusal(), true, now), seconds(30));
    assert_eq!(child.refused("a", now + seconds(10)), Some((refusal(), seconds(20))));
    assert_eq!(child.refused("b", now), None);
    assert_eq!(child.refused("a", now + seconds(30)), None);
    assert_eq!(child.refuse("a", refusal(), true, now + seconds(30)), seconds(60));
    assert_eq!(child.refuse("b", refusal(), true, now), seconds(30));
}

//! Liveness by Lease: whoever renews in time lives.
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;

/// How long a lease of ours is good for without a renewal.
pub const DURATION_SECONDS: i32 = 15;

/// Who holds a lease, if it is held and not run out.
pub fn holder(lease: &Lease, now: Timestamp) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    (now < end(lease)?).then_some(holder)
}

/// When a lease runs out unless it is renewed.
fn end(lease: &Lease) -> Option<Timestamp> {
    let spec = lease.spec.as_ref()?;
    let good_for = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(DURATION_SECONDS).into());
    spec.renew_time.as_ref()?.0.checked_add(good_for).ok()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

    use super::*;

    fn lease(holder: &str, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: Some(holder.into()),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    #[test]
    fn a_lease_is_held_until_its_duration_after_the_last_renewal() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(holder(&lease("a", 100), at(114)), Some("a"));
        assert_eq!(holder(&lease("a", 100), at(115)), None);
        assert_eq!(holder(&lease("", 100), at(101)), None);
    }
}

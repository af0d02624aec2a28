//! What an API answers, and how often it is asked.
use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

fn of_pod() -> Value {
    let extra = json!({ "authentication.kubernetes.io/pod-name": ["web-1"], "authentication.kubernetes.io/pod-uid": ["u-1"] });
    json!({ "authenticated": true, "audiences": [AUDIENCE], "user": { "username": "system:serviceaccount:shop:web", "extra": extra } })
}

fn pod() -> PodName {
    PodName { namespace: "shop".into(), name: "web-1".into(), uid: "u-1".into() }
}

/// Reviews by an API that answers with a status or an error, and how often it was asked.
fn reviews(answer: impl Fn(&Value) -> Result<Value, u16> + Send + Sync + 'static) -> (Reviews, Arc<AtomicUsize>) {
    let (answer, count) = (Arc::new(answer), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, counted) = (answer.clone(), counted.clone());
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"));
            let body: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap();
            assert_eq!(body["spec"]["audiences"], json!([AUDIENCE]));
            let (code, answered) = match answer(&body) {
                Ok(status) => (201, json!({ "metadata": {}, "spec": body["spec"], "status": status })),
                Err(code) => (code, json!({ "kind": "Status", "code": code, "status": "Failure", "message": "no", "reason": "No" })),
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(answered.to_string().into_bytes())).unwrap())
        }
    });
    (Reviews::new(Client::new(service, "default")), count)
}

#[test]
fn only_a_token_of_a_pod_that_is_for_the_agent_names_somebody() {
    let answer = |status: &Value| read(serde_json::from_value(status.clone()).unwrap());
    assert_eq!(answer(&of_pod()), Ok(pod()));
    let with = |pointer: &str, value: Value| {
        let mut status = of_pod();
        *status.pointer_mut(pointer).unwrap() = value;
        answer(&status)
    };
    let refused = "token audiences [\"x\"] is invalid for the target audiences [\"mesh-controller.dev\"]";
    let mismatch = json!({ "authenticated": false, "error": refused });
    assert_eq!(answer(&mismatch), Err(Error::NotValid(refused.into())));
    assert!(matches!(answer(&json!({})), Err(Error::NotValid(_))));
    assert!(matches!(with("/authenticated", json!(false)), Err(Error::NotValid(_))));
    for audiences in [json!([]), json!(["https://kubernetes.default.svc"]), Value::Null] {
        assert!(matches!(with("/audiences", audiences), Err(Error::NotValid(_))));
    }
    assert_eq!(with("/user/extra", json!({})), Err(Error::OfNoPod("system:serviceaccount:shop:web".into())));
    assert_eq!(with("/user/username", json!("system:node:n1")), Err(Error::OfNoPod("system:node:n1".into())));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_good_for_a_short_while_and_for_its_own_token_only() {
    let known =
        |body: &Value| Ok(if body["spec"]["token"] == "good" { of_pod() } else { json!({ "authenticated": false, "error": "no" }) });
    let (reviews, asked) = reviews(known);
    for _ in 0..3 {
        assert_eq!(reviews.pod("good").await, Ok(pod()));
        assert_eq!(reviews.pod("bad").await, Err(Error::NotValid("no".into())));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    tokio::time::advance(GOOD).await;
    assert_eq!(reviews.pod("good").await, Ok(pod()));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    for number in 0..2 * MOST {
        let _ = reviews.pod(&number.to_string()).await;
    }
    assert!(reviews.0.kept.lock().unwrap().len() <= MOST);
}

#[tokio::test(start_paused = true)]
async fn while_the_api_is_away_nobody_new_is_let_in_and_nothing_of_that_is_kept() {
    let away = Arc::new(AtomicUsize::new(500));
    let code = away.clone();
    let (reviews, _) = reviews(move |_| match u16::try_from(code.load(Ordering::Relaxed)).unwrap() {
        200 => Ok(of_pod()),
        code => Err(code),
    });
    for code in [500, 403, 429] {
        away.store(code, Ordering::Relaxed);
        assert!(matches!(reviews.pod("good").await, Err(Error::Away(_))), "{code}");
    }
    away.store(200, Ordering::Relaxed);
    assert_eq!(reviews.pod("good").await, Ok(pod()));
    away.store(500, Ordering::Relaxed);
    assert_eq!(reviews.pod("good").await, Ok(pod()));
    tokio::time::advance(GOOD).await;
    assert!(matches!(reviews.pod("good").await, Err(Error::Away(_))));
}

//! Whose a token is, in a cluster: its API issues tokens to pods and says, by TokenReview, whose one is. Each answer is good for a short while; without one nobody is let in.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus, UserInfo};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use mesh_api::names::AUDIENCE;
use mesh_kit::watch::refused::Chain;

/// So long an answer is good.
const GOOD: Duration = Duration::from_secs(30);
/// So many answers are kept.
const MOST: usize = 10_000;
/// So many questions are under way at once.
const AT_ONCE: usize = 16;
/// A single question waits no longer than this.
const CALL: Duration = Duration::from_secs(5);

/// A pod, as its token names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Why it is not known whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no token, or not for the agent, or of one who is gone.
    #[error("the cluster does not know the token: {0}")]
    NotValid(String),
    /// It is somebody's, but no pod's.
    #[error("the token is of {0}, and bound to no pod")]
    OfNoPod(String),
    /// The API does not answer, or will not.
    #[error("the cluster does not say whose the token is: {0}")]
    Away(String),
}

/// Asks whose tokens are. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reviews(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    api: Api<TokenReview>,
    kept: Mutex<HashMap<Hash, Kept>>,
    /// What was logged last of why there is no answer; nothing once there is one.
    trouble: Mutex<Option<String>>,
    asking: Semaphore,
}

/// The hash of a token: the token itself is not kept.
type Hash = [u8; 32];

/// An answer, and until when it is good.
#[derive(Debug, Clone)]
struct Kept {
    answer: Result<PodName, Error>,
    until: Instant,
}

impl Reviews {
    /// Of the cluster that this client reaches.
    pub fn new(client: Client) -> Self {
        let asking = Semaphore::new(AT_ONCE);
        Self(Arc::new(Shared { api: Api::all(client), kept: Mutex::default(), trouble: Mutex::default(), asking }))
    }

    /// The pod that a token was issued to.
    ///
    /// # Errors
    /// It is no pod's, or that cannot be said now.
    pub async fn pod(&self, token: &str) -> Result<PodName, Error> {
        let hash: Hash = Sha256::digest(token).into();
        if let Some(answer) = self.kept(&hash) {
            return answer;
        }
        let Ok(_turn) = self.0.asking.acquire().await else { return Err(Error::Away("it is ending".to_owned())) };
        // Another may have asked the same meanwhile.
        if let Some(answer) = self.kept(&hash) {
            return answer;
        }
        let asked = Instant::now();
        let answer = self.ask(token).await;
        let away = answer.as_ref().err().filter(|error| matches!(error, Error::Away(_)));
        self.tell(away);
        if away.is_none() {
            self.keep(hash, Kept { answer: answer.clone(), until: asked + GOOD });
        }
        answer
    }

    async fn ask(&self, token: &str) -> Result<PodName, Error> {
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![AUDIENCE.to_owned()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        match timeout(CALL, self.0.api.create(&PostParams::default(), &review)).await {
            Ok(Ok(review)) => read(review.status.unwrap_or_default()),
            Ok(Err(error)) => Err(Error::Away(Chain(&error).to_string())),
            Err(_) => Err(Error::Away("the API did not answer in time".to_owned())),
        }
    }

    /// Logs why there is no answer, once.
    fn tell(&self, away: Option<&Error>) {
        let mut trouble = self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let text = away.map(ToString::to_string);
        if let Some(text) = text.as_ref().filter(|text| trouble.as_ref() != Some(text)) {
            tracing::warn!("{text}; whoever asks is told to come back");
        }
        *trouble = text;
    }

    fn kept(&self, hash: &Hash) -> Option<Result<PodName, Error>> {
        let kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(hash).filter(|kept| Instant::now() < kept.until).map(|kept| kept.answer.clone())
    }

    fn keep(&self, hash: Hash, answer: Kept) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST {
            let now = Instant::now();
            kept.retain(|_, kept| now < kept.until);
        }
        if kept.len() >= MOST {
            // Whoever is asked about again is a question more.
            kept.clear();
        }
        kept.insert(hash, answer);
    }
}

/// What the API says of a token.
fn read(status: TokenReviewStatus) -> Result<PodName, Error> {
    let TokenReviewStatus { audiences, authenticated, error, user } = status;
    if authenticated != Some(true) {
        return Err(Error::NotValid(error.filter(|error| !error.is_empty()).unwrap_or_else(|| "it gives no reason".to_owned())));
    }
    // An authenticator that knows no audiences names none, and may have taken a token that is for somebody else.
    if !audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE) {
        return Err(Error::NotValid(format!("it is not for the audience {AUDIENCE}")));
    }
    let UserInfo { username, extra, .. } = user.unwrap_or_default();
    let username = username.unwrap_or_default();
    let extra = extra.unwrap_or_default();
    let one = |key: &str| extra.get(key).and_then(|values| values.first()).filter(|value| !value.is_empty()).cloned();
    let account = username.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    match (account, one("authentication.kubernetes.io/pod-name"), one("authentication.kubernetes.io/pod-uid")) {
        (Some((namespace, _)), Some(name), Some(uid)) => Ok(PodName { namespace: namespace.to_owned(), name, uid }),
        _ => Err(Error::OfNoPod(username)),
    }
}

#[cfg(test)]
mod tests;

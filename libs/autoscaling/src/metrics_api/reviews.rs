//! Reviews by the API server of the cluster, kept for a while.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use moka::future::Cache;
use signalbox_kube::{ReviewError, Reviews};
use signalbox_metrics_api::{Attributes, Failure, User};
use tokio::sync::Semaphore;

/// For how long an answer holds.
const TTL: Duration = Duration::from_secs(10);

/// Answers that are kept, of each kind.
const CAPACITY: u64 = 4_096;

/// Reviews that run at a time for clients with a certificate, and for all others: whoever sends new tokens all the time keeps
/// the API server no busier than that.
const MAX_RUNNING: usize = 16;

/// What a client proves who it is with, before anybody is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proof {
    /// A certificate: its own, or that of the front proxy that vouches for it.
    Certificate,
    /// Nothing, or a token.
    None,
}

/// Who knows the owners of tokens, and what users may do: the API server.
pub trait AccessReviews: Send + Sync + 'static {
    /// Returns who has a token; `None` if it is not valid.
    fn token(&self, token: &str) -> impl Future<Output = Result<Option<User>, ReviewError>> + Send;

    /// Returns whether a user may do something.
    fn access(
        &self,
        user: User,
        attributes: Attributes,
    ) -> impl Future<Output = Result<bool, ReviewError>> + Send;
}

impl AccessReviews for Reviews {
    fn token(&self, token: &str) -> impl Future<Output = Result<Option<User>, ReviewError>> + Send {
        self.token(token)
    }

    fn access(
        &self,
        user: User,
        attributes: Attributes,
    ) -> impl Future<Output = Result<bool, ReviewError>> + Send {
        self.access(user, attributes)
    }
}

/// Reviews whose answers are kept. Equal questions at the same time are asked once.
pub(super) struct KeptReviews<R> {
    reviews: R,
    /// Clients without a certificate wait for each other, and hold up nobody else.
    proven: Semaphore,
    unproven: Semaphore,
    tokens: Cache<String, Option<User>>,
    accesses: Cache<(User, Attributes), bool>,
    /// The last failure that was logged.
    logged: ArcSwapOption<String>,
}

impl<R> fmt::Debug for KeptReviews<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tokens are secrets.
        f.write_str("KeptReviews")
    }
}

impl<R: AccessReviews> KeptReviews<R> {
    pub(super) fn new(reviews: R) -> Self {
        Self {
            reviews,
            proven: Semaphore::new(MAX_RUNNING),
            unproven: Semaphore::new(MAX_RUNNING),
            tokens: Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build(),
            accesses: Cache::builder().max_capacity(CAPACITY).time_to_live(TTL).build(),
            logged: ArcSwapOption::empty(),
        }
    }

    pub(super) async fn token(&self, token: String) -> Result<Option<User>, Failure> {
        let ask = async {
            let _running = self.unproven.acquire().await;
            self.reviews.token(&token).await
        };
        self.tokens.try_get_with(token.clone(), ask).await.map_err(|error| self.failure(&error))
    }

    pub(super) async fn access(
        &self,
        user: User,
        attributes: Attributes,
        proof: Proof,
    ) -> Result<bool, Failure> {
        let running = match proof {
            Proof::Certificate => &self.proven,
            Proof::None => &self.unproven,
        };
        let key = (user.clone(), attributes.clone());
        let ask = async {
            let _running = running.acquire().await;
            self.reviews.access(user, attributes).await
        };
        self.accesses.try_get_with(key, ask).await.map_err(|error| self.failure(&error))
    }

    /// Logs the failure, unless it is that of last time.
    fn failure(&self, error: &ReviewError) -> Failure {
        let text = error.to_string();
        if self.logged.load().as_deref() != Some(&text) {
            tracing::warn!(error = text, "cannot check who asks for metrics");
            self.logged.store(Some(Arc::new(text.clone())));
        }
        Failure::Unavailable(format!("cannot check who you are: {text}"))
    }
}

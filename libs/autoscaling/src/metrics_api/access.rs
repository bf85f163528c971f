//! Who asks, and whether they may.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::request::Parts;
use signalbox_kube::AuthenticationConfig;
use signalbox_metrics_api::{Attributes, Failure, Identification, User, identify};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::certificates::Authorities;
use super::connections::ClientConnection;
use super::reviews::{AccessReviews, KeptReviews, Proof};

/// The group of users that may do everything. The API server does not know rights of it.
const MASTERS: &str = "system:masters";

/// Whoever proves nothing.
const ANONYMOUS: &str = "system:anonymous";
const UNAUTHENTICATED: &str = "system:unauthenticated";

/// The longest token and path that are looked at, in bytes. Answers are kept with the question, so clients that prove
/// nothing must not make questions as long as they like.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_PATH_BYTES: usize = 2 * 1024;

const NOT_READY: &str = "how clients prove who they are was not read from the API server yet";

/// Checks requests.
#[derive(Debug)]
pub(super) struct Access<R> {
    authorities: Arc<ArcSwapOption<Authorities>>,
    reviews: KeptReviews<R>,
    /// Takes over what the API server says. Ends with the checks.
    _follow: JoinSet<()>,
}

impl<R: AccessReviews> Access<R> {
    pub(super) fn new(authentication: watch::Receiver<Option<AuthenticationConfig>>, reviews: R) -> Self {
        let (authorities, mut tasks) = (Arc::default(), JoinSet::new());
        tasks.spawn(follow(authentication, Arc::clone(&authorities)));
        Self { authorities, reviews: KeptReviews::new(reviews), _follow: tasks }
    }

    /// Checks that it is known how clients prove who they are.
    pub(super) fn check_ready(&self) -> Result<(), String> {
        self.authorities.load().as_ref().map(|_| ()).ok_or_else(|| NOT_READY.to_owned())
    }

    /// Checks that whoever sent a request may have the answer.
    pub(super) async fn check(&self, request: &Parts, client: &ClientConnection) -> Result<(), Failure> {
        if request.uri.path().len() > MAX_PATH_BYTES {
            return Err(Failure::BadRequest(format!("the path is longer than {MAX_PATH_BYTES} bytes")));
        }
        let authorities = self.authorities.load_full();
        let authorities = authorities.ok_or_else(|| Failure::Unavailable(NOT_READY.to_owned()))?;
        let certificate = client.certificate(&authorities);
        let unauthorized = || Failure::Unauthorized("Unauthorized".to_owned());
        let (user, proof) = match identify(&certificate, &request.headers, &authorities.names) {
            Identification::User(user) => (user, Proof::Certificate),
            Identification::Token(token) if token.len() > MAX_TOKEN_BYTES => return Err(unauthorized()),
            Identification::Token(token) => {
                (self.reviews.token(token).await?.ok_or_else(unauthorized)?, Proof::None)
            }
            Identification::Unknown => (anonymous(), Proof::None),
        };
        if user.is_in(MASTERS) {
            return Ok(());
        }
        let (name, attributes) =
            (user.name.clone(), Attributes::of(request.method.as_str(), request.uri.path()));
        match self.reviews.access(user, attributes, proof).await? {
            true => Ok(()),
            false => Err(Failure::Forbidden(format!("{name} may not read {}", request.uri.path()))),
        }
    }
}

fn anonymous() -> User {
    User { name: ANONYMOUS.to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..User::default() }
}

/// Takes over what the API server says. What cannot be read changes nothing.
async fn follow(
    mut authentication: watch::Receiver<Option<AuthenticationConfig>>,
    authorities: Arc<ArcSwapOption<Authorities>>,
) {
    loop {
        let config = authentication.borrow_and_update().clone();
        match config.as_ref().map(Authorities::read) {
            Some(Ok(read)) => authorities.store(Some(Arc::new(read))),
            Some(Err(error)) => tracing::error!(
                error,
                "cannot read the authorities of clients in the ConfigMap kube-system/extension-apiserver-authentication"
            ),
            None => {}
        }
        if authentication.changed().await.is_err() {
            return;
        }
    }
}

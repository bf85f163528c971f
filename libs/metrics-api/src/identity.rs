//! Who sent a request: the algorithm of an aggregated API server.

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;

/// The group of everyone who has proved who they are.
const AUTHENTICATED: &str = "system:authenticated";

/// A user, in the terms of Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// Name.
    pub name: String,
    /// Unique id, if there is one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Whatever else the API server knows of the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What a client's certificate proves. The signatures have been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// There is none.
    None,
    /// There is one that none of the authorities has signed.
    Unknown,
    /// The authority of front proxies has signed it.
    FrontProxy {
        /// Its common name.
        common_name: String,
    },
    /// The authority of clients has signed it.
    Client {
        /// Its common name: the user.
        common_name: String,
        /// Its organizations: the groups.
        organizations: Vec<String>,
    },
}

/// How a front proxy names a user: from the ConfigMap `extension-apiserver-authentication`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaderNames {
    /// Common names that a front proxy may have; any, if there are none.
    pub allowed: Vec<String>,
    /// Headers with the name of the user. The first that is not empty counts.
    pub username: Vec<String>,
    /// Headers with groups.
    pub group: Vec<String>,
    /// Prefixes of headers with other attributes.
    pub extra_prefixes: Vec<String>,
    /// Headers with the unique id of the user.
    pub uid: Vec<String>,
}

/// What the certificate and the headers of a request say about who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identification {
    /// This user.
    User(User),
    /// Whoever has this token.
    Token(String),
    /// Nobody that is known.
    Unknown,
}

/// Reads who sent a request. The headers of a front proxy count only with the certificate of one.
pub fn identify(
    certificate: &Certificate,
    headers: &HeaderMap,
    names: &RequestHeaderNames,
) -> Identification {
    let by_certificate = match certificate {
        Certificate::FrontProxy { common_name } => {
            let is_allowed = names.allowed.is_empty() || names.allowed.contains(common_name);
            is_allowed.then(|| proxied_user(headers, names)).flatten()
        }
        Certificate::Client { common_name, organizations } if !common_name.is_empty() => {
            Some(authenticated(User {
                name: common_name.clone(),
                groups: organizations.clone(),
                ..User::default()
            }))
        }
        Certificate::Client { .. } | Certificate::None | Certificate::Unknown => None,
    };
    let by_token = || bearer_token(headers).map_or(Identification::Unknown, Identification::Token);
    by_certificate.map_or_else(by_token, Identification::User)
}

impl User {
    /// Whether the user is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name == group)
    }
}

/// Returns the user that a front proxy names.
fn proxied_user(headers: &HeaderMap, names: &RequestHeaderNames) -> Option<User> {
    Some(authenticated(User {
        name: first(headers, &names.username)?,
        uid: first(headers, &names.uid).unwrap_or_default(),
        groups: names.group.iter().flat_map(|name| values(headers, name)).collect(),
        extra: extra(headers, &names.extra_prefixes),
    }))
}

fn authenticated(mut user: User) -> User {
    if !user.is_in(AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    names.iter().find_map(|name| values(headers, name).find(|value| !value.is_empty()))
}

fn values<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = String> + 'a {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned)
}

/// Returns the attributes in headers that begin with one of the prefixes. What follows is the key, percent-encoded.
fn extra(headers: &HeaderMap, prefixes: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        // Names of headers are in lower case here.
        let key = prefixes.iter().find_map(|prefix| name.as_str().strip_prefix(&prefix.to_ascii_lowercase()));
        let Some((key, value)) = key.zip(value.to_str().ok()) else { continue };
        let decoded =
            percent_decode_str(key).decode_utf8().map_or_else(|_| key.to_owned(), |key| key.into_owned());
        extra.entry(decoded).or_default().push(value.to_owned());
    }
    extra
}

fn bearer_token(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> RequestHeaderNames {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        RequestHeaderNames {
            allowed: list(&["front-proxy"]),
            username: list(&["X-Remote-User", "X-Other-User"]),
            group: list(&["X-Remote-Group"]),
            extra_prefixes: list(&["X-Remote-Extra-"]),
            uid: list(&["X-Remote-Uid"]),
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn proxied() -> HeaderMap {
        headers(&[
            ("x-remote-user", ""),
            ("x-other-user", "system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
            ("x-remote-group", "a"),
            ("x-remote-group", "b"),
            ("x-remote-extra-scopes%2fof", "one"),
            ("x-remote-extra-scopes%2fof", "two"),
            ("x-remote-uid", "42"),
            ("authorization", "Bearer of-somebody-else"),
        ])
    }

    fn front_proxy(name: &str) -> Certificate {
        Certificate::FrontProxy { common_name: name.to_owned() }
    }

    #[test]
    fn a_front_proxy_names_the_user() {
        let Identification::User(user) = identify(&front_proxy("front-proxy"), &proxied(), &names()) else {
            panic!("nobody");
        };
        assert_eq!("system:serviceaccount:kube-system:horizontal-pod-autoscaler", user.name);
        assert_eq!(
            ("42", ["a", "b", AUTHENTICATED].map(str::to_owned).to_vec()),
            (user.uid.as_str(), user.groups)
        );
        assert_eq!(vec!["one".to_owned(), "two".to_owned()], user.extra["scopes/of"]);
    }

    #[test]
    fn headers_of_anyone_else_name_nobody() {
        let forged = headers(&[("x-remote-user", "admin"), ("x-remote-group", "system:masters")]);
        let client =
            Certificate::Client { common_name: "eve".to_owned(), organizations: vec!["dev".to_owned()] };
        for certificate in [Certificate::None, Certificate::Unknown, front_proxy("other")] {
            assert_eq!(Identification::Unknown, identify(&certificate, &forged, &names()), "{certificate:?}");
        }
        let Identification::User(user) = identify(&client, &forged, &names()) else { panic!("nobody") };
        assert_eq!(
            ("eve", ["dev", AUTHENTICATED].map(str::to_owned).to_vec()),
            (user.name.as_str(), user.groups)
        );
    }

    #[test]
    fn without_a_list_any_name_of_a_front_proxy_is_allowed() {
        let any = RequestHeaderNames { allowed: Vec::new(), ..names() };
        assert!(matches!(identify(&front_proxy("other"), &proxied(), &any), Identification::User(_)));
    }

    #[test]
    fn a_token_counts_where_no_certificate_says_who_it_is() {
        let with =
            |value: &str| identify(&Certificate::None, &headers(&[("authorization", value)]), &names());
        assert_eq!(Identification::Token("abc".to_owned()), with("bearer  abc"));
        for value in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(Identification::Unknown, with(value), "{value}");
        }
        let nameless =
            identify(&front_proxy("front-proxy"), &headers(&[("authorization", "Bearer t")]), &names());
        assert_eq!(Identification::Token("t".to_owned()), nameless);
    }
}

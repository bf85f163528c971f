//! The certificates and keys of a control plane.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

/// The names by which clients reach the API server.
const NAMES: [&str; 5] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The common name of the certificate with which the API server passes requests on.
pub(crate) const FRONT_PROXY: &str = "front-proxy-client";

/// The group whose members may do everything.
const ADMINISTRATORS: &str = "system:masters";

/// The PEM files of a certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// All files.
#[derive(Debug)]
pub(crate) struct Certificates {
    /// The certificate of the authority.
    pub(crate) authority: PathBuf,
    /// The API server.
    pub(crate) server: Identity,
    /// A client with all rights.
    administrator: Identity,
    /// The certificate of the authority of front proxies, which signs nothing else: whoever it vouches for may name any user.
    pub(crate) front_proxy_authority: PathBuf,
    /// The API server, as front proxy of aggregated API servers.
    pub(crate) front_proxy: Identity,
    /// The key that signs the tokens of service accounts.
    pub(crate) account_key: PathBuf,
    pub(crate) account_public_key: PathBuf,
}

impl Certificates {
    /// Creates all files in `folder`, for an API server that is reached at these addresses.
    pub(crate) fn create(folder: &Path, address: IpAddr, service: IpAddr) -> anyhow::Result<Self> {
        let (issuer, authority) = create_authority(folder, "authority.pem", "kubernetes")?;
        let (front_proxies, front_proxy_authority) =
            create_authority(folder, "front-proxy-authority.pem", "front-proxy-ca")?;

        let addresses = [address.to_string(), service.to_string(), "127.0.0.1".to_owned()];
        let names: Vec<String> = NAMES.map(str::to_owned).into_iter().chain(addresses).collect();
        let server = (CertificateParams::new(names)?, ExtendedKeyUsagePurpose::ServerAuth);
        let mut administrator = CertificateParams::default();
        administrator.distinguished_name.push(DnType::OrganizationName, ADMINISTRATORS);
        let administrator = (administrator, ExtendedKeyUsagePurpose::ClientAuth);

        let accounts = KeyPair::generate()?;
        let [account_key, account_public_key] =
            ["service-accounts.key", "service-accounts.pub"].map(|name| folder.join(name));
        fs::write(&account_key, accounts.serialize_pem())?;
        fs::write(&account_public_key, accounts.public_key_pem())?;
        Ok(Self {
            server: issue(&issuer, folder, "api-server", server)?,
            administrator: issue(&issuer, folder, "administrator", administrator)?,
            front_proxy: issue(
                &front_proxies,
                folder,
                FRONT_PROXY,
                (CertificateParams::default(), ExtendedKeyUsagePurpose::ClientAuth),
            )?,
            authority,
            front_proxy_authority,
            account_key,
            account_public_key,
        })
    }

    /// Returns the kubeconfig of a client with all rights.
    pub(crate) fn kubeconfig(&self, server: SocketAddr) -> Value {
        let Identity { certificate, key } = &self.administrator;
        self.kubeconfig_for(server, &json!({ "client-certificate": certificate, "client-key": key }))
    }

    /// Returns the kubeconfig of a client with these credentials.
    pub(crate) fn kubeconfig_for(&self, server: SocketAddr, user: &Value) -> Value {
        let cluster =
            json!({ "server": format!("https://{server}"), "certificate-authority": self.authority });
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "test", "cluster": cluster }],
            "users": [{ "name": "test", "user": user }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
            "current-context": "test",
        })
    }
}

/// Creates an authority, writes its certificate into a file in `folder`, and returns both.
fn create_authority(
    folder: &Path,
    file: &str,
    name: &str,
) -> anyhow::Result<(Issuer<'static, KeyPair>, PathBuf)> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.distinguished_name.push(DnType::CommonName, name);
    let (key, path) = (KeyPair::generate()?, folder.join(file));
    fs::write(&path, params.self_signed(&key)?.pem())?;
    Ok((Issuer::new(params, key), path))
}

/// Issues a certificate with the common name `name`.
fn issue(
    issuer: &Issuer<'_, KeyPair>,
    folder: &Path,
    name: &str,
    (mut params, usage): (CertificateParams, ExtendedKeyUsagePurpose),
) -> anyhow::Result<Identity> {
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let identity =
        Identity { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
    fs::write(&identity.certificate, params.signed_by(&key, issuer)?.pem())?;
    fs::write(&identity.key, key.serialize_pem())?;
    Ok(identity)
}

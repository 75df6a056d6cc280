//! A certificate authority: a root that clients trust, an intermediate certificate, and leaf certificates.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A root with one intermediate.
pub struct Authority {
    root: String,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, PEM.
pub struct Issued {
    /// The leaf and the intermediate.
    pub chain: String,
    /// The leaf alone, without the intermediate: a client that knows only the root can't verify it.
    pub leaf: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// Makes an authority that no client trusts yet.
    ///
    /// # Panics
    /// If no key can be made.
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(authority("Test root"), key()).expect("a root");
        let intermediate =
            CertifiedIssuer::signed_by(authority("Test intermediate"), key(), &root).expect("an intermediate");
        Self {
            root: root.pem(),
            intermediate,
        }
    }

    /// The root's certificate, PEM.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// A new certificate for a name.
    ///
    /// # Panics
    /// If `name` is not a host name.
    pub fn issue(&self, name: &str) -> Issued {
        let key = key();
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let leaf = params.signed_by(&key, &self.intermediate).expect("a leaf").pem();
        Issued {
            chain: format!("{leaf}{}", self.intermediate.pem()),
            leaf,
            key: key.serialize_pem(),
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

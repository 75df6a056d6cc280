//! The certificates and the key a control plane starts with.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// Writes `ca.crt`, `server.crt`/`.key` (for these addresses), `admin.crt`/`.key` (group `system:masters`) and
/// `service-accounts.key`/`.pub`, with which the API server signs its tokens and checks them.
pub(super) fn write(directory: &Path, addresses: &[Ipv4Addr]) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = named("test authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let certificate = authority.self_signed(&authority_key).expect("a certificate");
    save(directory, "ca.crt", &certificate.pem());
    let authority = Issuer::new(authority, authority_key);

    let mut server = named("kube-apiserver");
    server.subject_alt_names = addresses
        .iter()
        .map(|address| SanType::IpAddress((*address).into()))
        .collect();
    server
        .subject_alt_names
        .push(SanType::DnsName("localhost".try_into().expect("a name")));
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(directory, "server", &server, &authority);

    // A client certificate's O is the group, its CN the user (Kubernetes, "X509 client certificates").
    let mut admin = named("admin");
    admin
        .distinguished_name
        .push(DnType::OrganizationName, "system:masters");
    admin.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    issue(directory, "admin", &admin, &authority);

    let signing = KeyPair::generate().expect("a key");
    save(directory, "service-accounts.key", &signing.serialize_pem());
    save(directory, "service-accounts.pub", &signing.public_key_pem());
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn issue(directory: &Path, name: &str, params: &CertificateParams, authority: &Issuer<'_, KeyPair>) {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    save(directory, &format!("{name}.crt"), &certificate.pem());
    save(directory, &format!("{name}.key"), &key.serialize_pem());
}

fn save(directory: &Path, name: &str, text: &str) {
    fs::write(directory.join(name), text).expect("a file");
}

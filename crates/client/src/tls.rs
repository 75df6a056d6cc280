//! Which certificate authorities the client trusts: Mozilla's, which are compiled in, so that an empty container needs
//! no bundle; those of the bundle that `SSL_CERT_FILE` names; and those that the caller adds.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::ClientError;

/// The TLS settings: TLS 1.2 and 1.3 with ring; ALPN offers HTTP/2 before HTTP/1.1.
///
/// # Errors
/// [`ClientError::Config`] if a bundle can't be read, is not PEM, or contains no usable certificate.
pub(crate) fn config(bundles: &[Vec<u8>], file: Option<&Path>) -> Result<ClientConfig, ClientError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for bundle in bundles {
        add(&mut roots, bundle, "the given certificates")?;
    }
    if let Some(path) = file {
        let what = format!("SSL_CERT_FILE ({})", path.display());
        let bundle = std::fs::read(path).map_err(|error| ClientError::Config(format!("{what}: {error}")))?;
        add(&mut roots, &bundle, &what)?;
    }
    // Names ring, so that the process-wide default provider, which another library may have set, does not matter.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Config(format!("TLS: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Adds the certificates of a PEM bundle. Certificates that can't be parsed are skipped, as other TLS clients do,
/// unless no certificate is left.
fn add(roots: &mut RootCertStore, bundle: &[u8], what: &str) -> Result<(), ClientError> {
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(bundle)
            .collect::<Result<_, _>>()
            .map_err(|_| ClientError::Config(format!("{what}: the file is not PEM")))?;
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(ClientError::Config(format!("{what}: no usable certificate in it"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Client;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use hyper_util::server::conn::auto::Builder;
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    #[test]
    fn http_2_is_offered_first() {
        let config = config(&[], None).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused_by_name() {
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_vec();
        for bundle in [b"".to_vec(), b"hello".to_vec(), broken] {
            let error = config(&[bundle], None).unwrap_err();
            assert!(error.to_string().starts_with("the given certificates: "), "{error}");
        }
        let error = config(&[], Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
        assert!(
            error.to_string().starts_with("SSL_CERT_FILE (/nowhere/ca.pem): "),
            "{error}"
        );
    }

    /// Starts a server at `https://localhost:…` that answers `/health` with the HTTP version of the request. Returns
    /// its URL and its certificate.
    async fn server(protocol: &'static [u8]) -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![made.cert.der().clone()], key)
                .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let answer = service_fn(|request: Request<Incoming>| async move {
                    let health = format!(r#"{{"name":"x","version":"{:?}"}}"#, request.version());
                    Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(health))))
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        (format!("https://localhost:{port}"), made.cert.pem())
    }

    #[tokio::test]
    async fn http_2_is_used_if_the_server_supports_it() {
        for (protocol, version) in [(&b"h2"[..], "HTTP/2.0"), (b"http/1.1", "HTTP/1.1")] {
            let (host, authority) = server(protocol).await;
            let base = crate::builder::base_url(&host).unwrap();
            let builder = Client::builder(host, "t").add_root_certificates(authority);
            let client = builder.build_with(base, None).unwrap();
            assert_eq!(client.health().await.unwrap().version, version);
        }
    }

    #[tokio::test]
    async fn ssl_cert_file_adds_an_authority() {
        let (host, authority) = server(b"h2").await;
        let file = std::env::temp_dir().join(format!("sidevault-client-ca-{}.pem", std::process::id()));
        std::fs::write(&file, authority).unwrap();
        let base = crate::builder::base_url(&host).unwrap();
        let trusting = Client::builder(&host, "t")
            .build_with(base.clone(), Some(file.clone()))
            .unwrap();
        std::fs::remove_file(&file).unwrap();
        trusting.heartbeat().await.unwrap();
        let error = Client::builder(&host, "t")
            .build_with(base, None)
            .unwrap()
            .heartbeat()
            .await
            .unwrap_err();
        assert!(error.is_certificate() && error.is_unreachable(), "{error}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("{host} can't be reached: its certificate")),
            "{error}"
        );
    }
}

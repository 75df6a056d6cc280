//! Which certificate authorities the client trusts beside the public ones: those of the bundle that `SSL_CERT_FILE` names,
//! and those that the caller adds.

use std::path::Path;

use sidevault_net::Authorities;

use crate::error::ClientError;

/// The public authorities, those of `bundles` and those of `file`.
///
/// # Errors
/// [`ClientError::Config`] if a bundle can't be read, is not PEM, or contains no usable certificate.
pub(crate) fn authorities(bundles: &[Vec<u8>], file: Option<&Path>) -> Result<Authorities, ClientError> {
    let mut authorities = Authorities::default();
    for bundle in bundles {
        let added = authorities.add(bundle);
        added.map_err(|error| ClientError::Config(format!("the given certificates: {error}")))?;
    }
    if let Some(path) = file {
        let failed =
            |error: &dyn std::error::Error| ClientError::Config(format!("SSL_CERT_FILE ({}): {error}", path.display()));
        let bundle = std::fs::read(path).map_err(|error| failed(&error))?;
        authorities.add(&bundle).map_err(|error| failed(&error))?;
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
    fn a_bundle_without_a_certificate_is_refused_by_name() {
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n".to_vec();
        for bundle in [b"".to_vec(), b"hello".to_vec(), broken] {
            let error = authorities(&[bundle], None).unwrap_err();
            assert!(error.to_string().starts_with("the given certificates: "), "{error}");
        }
        let error = authorities(&[], Some(Path::new("/nowhere/ca.pem"))).unwrap_err();
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

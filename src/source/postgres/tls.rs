//! TLS as libpq understands it: `prefer` and `require` take any certificate, `verify-full` one of the system's authorities.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::domain::source::TlsMode;
use crate::source::SourceError;

/// The certificates of the authorities this system trusts, in the places distributions keep them.
pub(super) fn authority_bundle() -> Option<PathBuf> {
    const PLACES: [&str; 5] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    ];
    let configured = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    configured
        .into_iter()
        .chain(PLACES.map(PathBuf::from))
        .find(|path| path.is_file())
}

/// The settings of the encryption for a mode that has one.
pub(super) fn tls_config(mode: TlsMode, server: &str) -> Result<rustls::ClientConfig, SourceError> {
    let failed = |why: String| SourceError::Tls {
        server: server.to_owned(),
        why,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    if mode != TlsMode::VerifyFull {
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth());
    }
    let bundle = authority_bundle().ok_or_else(|| failed("no certificate authorities are installed".to_owned()))?;
    let roots = read_roots(&bundle).map_err(failed)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read_roots(bundle: &Path) -> Result<rustls::RootCertStore, String> {
    let unreadable = |error: rustls::pki_types::pem::Error| format!("cannot read {}: {error}", bundle.display());
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(bundle).map_err(unreadable)?;
    roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    if roots.is_empty() {
        return Err(format!("{} holds no certificate", bundle.display()));
    }
    Ok(roots)
}

/// Takes any certificate, as libpq does for `prefer` and `require`; signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_authorities_are_found() {
        assert!(tls_config(TlsMode::VerifyFull, "x").is_ok());
        assert!(tls_config(TlsMode::Require, "x").is_ok());
        assert!(
            read_roots(Path::new("/dev/null"))
                .unwrap_err()
                .contains("no certificate")
        );
    }
}

//! Whom we trust on the network: one TLS configuration for AWS and for the providers.
//!
//! A machine keeps its roots as a text of some 140 certificates, and reading it was two thirds of all that a function computed
//! before its first request. So Mozilla's roots come with the binary, as their crate read them when it was made, and
//! nothing is read at start-up. They grow old with the binary: deploy at least once in some years.

use std::{path::Path, sync::LazyLock};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem},
};

/// The variable that OpenSSL has for it, too.
const OWN_ROOTS: &str = "SSL_CERT_FILE";

/// How a client speaks TLS: with Mozilla's roots, and those of the PEM file that `SSL_CERT_FILE` names, where providers or
/// proxies have a certificate authority of their own. It names no protocol above TLS: who uses it does.
pub fn client_config() -> ClientConfig {
    CONFIG.clone()
}

/// Made once: who uses it gets what shares its roots and its sessions.
static CONFIG: LazyLock<ClientConfig> =
    LazyLock::new(|| ClientConfig::builder().with_root_certificates(roots()).with_no_client_auth());

fn roots() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let Some(file) = std::env::var_os(OWN_ROOTS).filter(|file| !file.is_empty()) else { return roots };
    match certificates(Path::new(&file)) {
        Ok(own) => {
            let (_, unusable) = roots.add_parsable_certificates(own);
            if unusable > 0 {
                tracing::warn!(?file, unusable, "SSL_CERT_FILE has certificates that can't be a root");
            }
        }
        // Whom the others don't vouch for will not be trusted, and the error there says so.
        Err(error) => tracing::error!(?file, %error, "SSL_CERT_FILE can't be read"),
    }
    roots
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    use pem::PemObject;
    CertificateDer::pem_file_iter(file)?.collect()
}

#[cfg(test)]
mod tests;

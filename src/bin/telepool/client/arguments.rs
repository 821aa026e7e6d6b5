//! Arguments of the commands that ask a running pool.
//!
//! Owns the choice of where to ask, and with which token.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::url::Url;
use super::{Client, Target};
use crate::failure::Failure;
use crate::http_arguments::socket_beside;
use crate::input;

#[derive(Debug, Args)]
pub(crate) struct ClientArguments {
    /// Asks the run that keeps its state in this file, over the socket beside it.
    #[arg(long, value_name = "FILE", global = true, conflicts_with_all = ["socket", "url"])]
    state: Option<PathBuf>,
    /// Asks the run that has this socket.
    #[arg(long, value_name = "PATH", global = true, conflicts_with = "url")]
    socket: Option<PathBuf>,
    /// Asks over the network, as in https://telepool.example.org:9464.
    #[arg(long, value_name = "URL", global = true)]
    url: Option<Url>,
    /// The file whose first line is the token to show, with --url.
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// The certificates in PEM that are trusted to sign the server's, with an https --url.
    #[arg(long, value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
}

impl ClientArguments {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let Some(url) = &self.url else {
            if self.token_file.is_some() || self.ca_file.is_some() {
                return Err(Failure::refused(
                    "--token-file and --ca-file belong to --url: over a socket it is the user that counts",
                ));
            }
            let beside = self.state.as_deref().map(socket_beside);
            let path = self.socket.clone().or(beside).ok_or_else(|| {
                Failure::refused(
                    "give --state FILE, --socket PATH or --url URL of the run to ask: it said at its start where \
                     it is",
                )
            })?;
            return Ok(Client { to: Target::Socket(path), token: None });
        };
        let token = self.token_file.as_deref().map(token_of).transpose()?;
        if token.is_some() && !url.is_tls() && !url.is_on_loopback() {
            return Err(Failure::refused(format!(
                "--url {url}: in plain text whoever is on the way reads the token: ask by https"
            )));
        }
        let tls = url.is_tls().then(|| self.tls(url)).transpose()?;
        Ok(Client { to: Target::Network { url: url.clone(), tls }, token })
    }

    fn tls(&self, url: &Url) -> Result<Arc<ClientConfig>, Failure> {
        let path = self.ca_file.as_deref().ok_or_else(|| {
            Failure::refused(format!(
                "--url {url}: give --ca-file with the certificate that has signed the server's (of Debian's \
                 list: /etc/ssl/certs/ca-certificates.crt)"
            ))
        })?;
        let unusable = |error: &dyn std::fmt::Display| {
            Failure::refused(format!(
                "--ca-file {}: {error}: give certificates in PEM (-----BEGIN ...)",
                path.display()
            ))
        };
        let mut roots = RootCertStore::empty();
        let text = input::bytes(path).map_err(|error| unusable(&error))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let (added, _) =
            roots.add_parsable_certificates(certificates.map_err(|error| unusable(&error))?);
        if added == 0 {
            return Err(unusable(&"there is none in it"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("BUG: ring has what TLS 1.2 and 1.3 need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn token_of(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let line = input::first_line(path).map_err(|error| {
        Failure::refused(format!(
            "--token-file {shown}: {error}: give a file whose first line is a token"
        ))
    })?;
    let token = line.trim();
    if token.is_empty() || !token.bytes().all(|it| it.is_ascii_graphic()) {
        return Err(Failure::refused(format!(
            "--token-file {shown}: its first line is no token: put there what telepool token create printed"
        )));
    }
    Ok(token.to_owned())
}

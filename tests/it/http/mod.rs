//! The HTTP API of a pool, over real HTTP.

mod access;
mod client;
mod events;
mod faults;
mod lists;
mod operations;
mod privacy;
#[cfg(all(feature = "telegram", feature = "sandbox"))]
mod schemathesis;
mod streams;

use std::sync::Arc;

use axum::Router;
use telepool::http::{self, Access, Panel, Scope};
use telepool::{Manager, Pool};
use tokio::net::TcpListener;

use crate::http::client::Client;

/// What whoever asks may do and see.
fn access(scopes: &[Scope], groups: Option<&[&str]>, phones: bool) -> Access {
    let mut access = Access::default();
    access.name = Arc::from("tester");
    access.scopes = scopes.to_vec();
    access.groups = groups.map(|all| all.iter().map(|group| Arc::from(*group)).collect());
    access.phones = phones;
    access
}

/// A panel that is served on a free port until the end of the test, to whoever has this access.
async fn serve<M: Manager>(pool: &Pool<M>, access: Access) -> Client {
    serve_panel(&Panel::new(pool).unwrap().access(access)).await
}

async fn serve_panel(panel: &Panel) -> Client {
    serve_router(panel.router()).await
}

async fn serve_router(router: Router) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(http::serve(listener, router, std::future::pending()));
    Client(address)
}

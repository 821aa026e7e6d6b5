//! What is served over HTTP, asked for over real connections.

mod access;

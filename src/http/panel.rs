//! The panel of a pool: all that its routes stand on, and the router that they make.
//!
//! Owns the exporter, the monitor and what is known of settings, and ends what the panel has begun. Never
//! keeps the pool alive.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::http::access::{Access, Scope};
use crate::http::api;
use crate::http::api::error::ApiError;
use crate::http::monitor::{Monitor, MonitorTasks};
use crate::http::settings::{PanelSettings, SettingOrigin, StaticSetting};
use crate::http::upkeep::HistogramUpkeep;
use crate::http::{page, routes};
use crate::manager::Manager;
use crate::metrics::{ExportError, Prometheus};
use crate::pool::Pool;

/// The numbers, the page and the API of a pool. Its task, which samples the pool once a second, ends when
/// the panel and all that is left of its routers are dropped, or the pool is.
///
/// ```
/// use telepool::http::{self, Panel};
/// use telepool::{NoopManager, Pool};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::builder(NoopManager::new(3)).build()?;
/// let panel = Panel::new(&pool)?;
/// # let stop = async {};
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// http::serve(listener, panel.router(), stop).await?;
/// panel.stop();
/// # Ok(())
/// # }
/// ```
pub struct Panel {
    state: PanelState,
    access: Access,
}

/// What the routes of a panel share.
#[derive(Clone)]
pub(crate) struct PanelState(Arc<PanelInner>);

impl std::ops::Deref for PanelState {
    type Target = PanelInner;

    fn deref(&self) -> &PanelInner {
        &self.0
    }
}

/// See [`PanelState`].
pub(crate) struct PanelInner {
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) exporter: Prometheus,
    pub(crate) settings: PanelSettings,
    /// One for each stream that there may be.
    pub(crate) streams: Arc<Semaphore>,
    /// Told when the streams are to end.
    pub(crate) stopping: CancellationToken,
    _tasks: MonitorTasks,
    _upkeep: HistogramUpkeep,
}

impl Panel {
    /// Makes the panel of a pool, and its exporter. Needs a tokio runtime with time enabled; its tasks run
    /// there.
    ///
    /// # Errors
    /// The pool is exported already: give that exporter to [`with_exporter`](Self::with_exporter).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new<M: Manager>(pool: &Pool<M>) -> Result<Self, ExportError> {
        Ok(Self::with_exporter(pool, &Prometheus::new(pool)?))
    }

    /// Makes the panel of a pool around the exporter that it has.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn with_exporter<M: Manager>(pool: &Pool<M>, exporter: &Prometheus) -> Self {
        let runtime = Handle::current();
        let stopping = CancellationToken::new();
        let (monitor, tasks) = Monitor::start(Arc::new(pool.downgrade()), &runtime, &stopping)
            .expect("BUG: the caller holds the pool");
        let state = PanelInner {
            monitor,
            exporter: exporter.clone(),
            settings: PanelSettings::default(),
            streams: Arc::new(Semaphore::new(api::STREAMS_MAX)),
            stopping,
            _tasks: tasks,
            _upkeep: HistogramUpkeep::start(exporter, &runtime),
        };
        // No tokens: reads for whoever reaches it, and no operations.
        let mut access = Access::default();
        (access.name, access.scopes) = (Arc::from("anybody"), vec![Scope::Read]);
        Self { state: PanelState(Arc::new(state)), access }
    }

    /// Tells where the values of settings come from, by their keys, such as `pool.max_idle_time`. All others
    /// have their default.
    #[must_use]
    pub fn origins(self, origins: impl IntoIterator<Item = (String, SettingOrigin)>) -> Self {
        self.state.settings.origins.lock().extend(origins);
        self
    }

    /// Adds settings of the application's own, which are shown after those of the pool.
    #[must_use]
    pub fn static_settings(self, settings: impl IntoIterator<Item = StaticSetting>) -> Self {
        self.state.settings.fixed.lock().extend(settings);
        self
    }

    /// Gives everybody who asks this access: for an application whose router has judged them before. By
    /// default everybody may read, and nobody may change anything or see a phone number.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// The routes: the page at `/`, `/metrics`, `/healthz`, `/readyz` and the API below `/api/v1`, which describes itself in
    /// `/api/v1/openapi.json`. Every error of the API is a problem (RFC 9457) with its stage, its reason and
    /// its remedy.
    pub fn router(&self) -> Router {
        let access = self.access.clone();
        let give = move |mut request: Request, next: Next| {
            // Whoever stands before this router may have judged the request already.
            if request.extensions().get::<Access>().is_none() {
                request.extensions_mut().insert(access.clone());
            }
            next.run(request)
        };
        routes::of_panel(&self.state)
            .merge(api::router(&self.state))
            .merge(page::router())
            .fallback(|| async { ApiError::unknown_path() })
            .method_not_allowed_fallback(|| async { ApiError::unknown_method() })
            .layer(middleware::from_fn(give))
            .layer(CatchPanicLayer::custom(ApiError::of_panic))
    }

    /// Ends the streams of events, as the end of the pool does: for a server that does not end them itself when
    /// it is to stop, as [`serve`](crate::http::serve()) does.
    pub fn stop(&self) {
        self.state.stopping.cancel();
    }
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panel").field("access", &self.access.name).finish_non_exhaustive()
    }
}

/// The routes of a pool's panel, for an application that needs no more: see [`Panel`], and
/// [`Panel::router`] for what they are. Everybody who reaches them may read, nobody may change anything or
/// see a phone number: bind a loopback address, or have the application judge who asks.
///
/// # Errors
/// The pool is exported already: make a [`Panel`] around that exporter.
///
/// # Panics
/// Outside a tokio runtime.
pub fn router<M: Manager>(pool: &Pool<M>) -> Result<Router, ExportError> {
    Panel::new(pool).map(|panel| panel.router())
}

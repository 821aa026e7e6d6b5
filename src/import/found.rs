//! What is found in the files of other programs.
//!
//! Owns the types. Never decides whose session it is, nor where it goes.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::account_id::AccountId;
use crate::session::{AuthKey, ChannelState, Proxy, SessionFormat, SessionString, UpdateState};

/// How many peers are taken of one session: a bot may have met more users than there is memory for.
pub const PEERS_MAX: usize = 1_000_000;

/// Which program a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Telethon: a file or a string.
    Telethon,
    /// GramJS: a string.
    GramJs,
    /// Pyrogram 1 or 2: a file or a string.
    Pyrogram,
    /// Kurigram: a file.
    Kurigram,
    /// pyrofork: a file.
    Pyrofork,
    /// pyrotgfork: a file.
    Pyrotgfork,
    /// grammers: a file.
    Grammers,
    /// mtcute: a string.
    Mtcute,
    /// MTKruto: a string.
    MtKruto,
    /// gotd: a file or a string of JSON.
    Gotd,
    /// Telegram Desktop: a folder.
    TelegramDesktop,
    /// telepool's own JSON lines, of a string that another program may have written.
    Lines,
    /// Signed in by telepool itself.
    SignIn,
}

impl Origin {
    /// Every origin, by its label.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Telethon, "telethon"),
        (Self::GramJs, "gramjs"),
        (Self::Pyrogram, "pyrogram"),
        (Self::Kurigram, "kurigram"),
        (Self::Pyrofork, "pyrofork"),
        (Self::Pyrotgfork, "pyrotgfork"),
        (Self::Grammers, "grammers"),
        (Self::Mtcute, "mtcute"),
        (Self::MtKruto, "mtkruto"),
        (Self::Gotd, "gotd"),
        (Self::TelegramDesktop, "tdata"),
        (Self::Lines, "lines"),
        (Self::SignIn, "sign-in"),
    ];

    /// A word for the program, as commands and the store write it.
    #[must_use]
    pub fn label(self) -> &'static str {
        let row = Self::ALL.iter().find(|(origin, _)| *origin == self);
        row.map_or("unknown", |(_, label)| label)
    }

    /// The name of the program, as it writes it itself.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telethon => "Telethon",
            Self::GramJs => "GramJS",
            Self::Pyrogram => "Pyrogram",
            Self::Kurigram => "Kurigram",
            Self::Pyrofork => "pyrofork",
            Self::Pyrotgfork => "pyrotgfork",
            Self::Grammers => "grammers",
            Self::Mtcute => "mtcute",
            Self::MtKruto => "MTKruto",
            Self::Gotd => "gotd",
            Self::TelegramDesktop => "Telegram Desktop",
            Self::Lines | Self::SignIn => "telepool",
        }
    }

    /// The origin of a label.
    #[must_use]
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, it)| *it == label).map(|(origin, _)| *origin)
    }
}

impl From<SessionFormat> for Origin {
    fn from(format: SessionFormat) -> Self {
        match format {
            SessionFormat::Telethon => Self::Telethon,
            SessionFormat::GramJs => Self::GramJs,
            SessionFormat::Pyrogram2
            | SessionFormat::Pyrogram1
            | SessionFormat::Pyrogram1Narrow => Self::Pyrogram,
            SessionFormat::Mtcute => Self::Mtcute,
            SessionFormat::MtKruto => Self::MtKruto,
        }
    }
}

/// One authorized session, as far as its source tells of it.
///
/// Made by [`FoundSession::new`], and its fields are set by name: more may come.
#[derive(Clone)]
#[non_exhaustive]
pub struct FoundSession {
    /// Which program it comes from.
    pub origin: Origin,
    /// The home data centre, 1 to 255.
    pub dc: i32,
    /// Where the home data centre listens.
    pub address: Option<SocketAddr>,
    /// Whether the session belongs to the test servers.
    pub test_mode: Option<bool>,
    /// The authorization key of the home data centre.
    pub key: AuthKey,
    /// The authorization keys of other data centres, which files come from.
    pub foreign_keys: Vec<(i32, AuthKey)>,
    /// The account's phone number.
    pub phone: Option<AccountId>,
    /// The user that the session is logged in as.
    pub user_id: Option<i64>,
    /// Whether the user is a bot.
    pub is_bot: Option<bool>,
    /// The application that logged in.
    pub api_id: Option<i32>,
    /// The slot that the source asks for.
    pub slot: Option<u16>,
    /// An operator's label on the account.
    pub group: Option<Arc<str>>,
    /// The proxy to dial by.
    pub proxy: Option<Arc<Proxy>>,
    /// Users and chats whose access hashes the account has learnt.
    pub peers: Vec<KnownPeer>,
    /// How many more of them there are than are taken ([`PEERS_MAX`]).
    pub peers_left_out: u64,
    /// How far the account's updates have been read.
    pub update_state: Option<UpdateState>,
    /// How far those of its channels have been read.
    pub channel_states: Vec<ChannelState>,
}

impl FoundSession {
    /// A session of which nothing else is known.
    #[must_use]
    pub fn new(origin: Origin, dc: i32, key: AuthKey) -> Self {
        Self {
            origin,
            dc,
            address: None,
            test_mode: None,
            key,
            foreign_keys: Vec::new(),
            phone: None,
            user_id: None,
            is_bot: None,
            api_id: None,
            slot: None,
            group: None,
            proxy: None,
            peers: Vec::new(),
            peers_left_out: 0,
            update_state: None,
            channel_states: Vec::new(),
        }
    }
}

impl From<SessionString> for FoundSession {
    fn from(string: SessionString) -> Self {
        let mut found = Self::new(string.format.into(), string.dc, string.key);
        found.address = string.address;
        found.test_mode = string.test_mode;
        found.user_id = string.user_id;
        found.is_bot = string.is_bot;
        found.api_id = string.api_id.and_then(|id| i32::try_from(id).ok());
        found
    }
}

impl fmt::Debug for FoundSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundSession")
            .field("origin", &self.origin)
            .field("dc", &self.dc)
            .field("address", &self.address)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

/// What an input holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Found {
    /// A session.
    Session(Box<FoundSession>),
    /// The token of a bot.
    Token(BotToken),
}

/// The token of a bot, which signs in with it. Wiped when dropped and never printed.
#[derive(Clone)]
pub struct BotToken {
    /// The bot.
    pub bot: AccountId,
    /// The whole token, `ID:SECRET`.
    pub token: Zeroizing<String>,
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BotToken").field("bot", &self.bot).finish_non_exhaustive()
    }
}

/// What a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum PeerKind {
    /// A user.
    User,
    /// A user that is a bot.
    Bot,
    /// A small group.
    Chat,
    /// A channel.
    Channel,
    /// A supergroup.
    Megagroup,
}

/// A user or chat that the account has met, with what is needed to address it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// What it is.
    pub kind: PeerKind,
    /// Its bare id, without the marks that clients put before those of chats and channels.
    pub id: i64,
    /// The hash without which it cannot be addressed; zero for small groups, which need none.
    pub access_hash: i64,
    /// Its public name, without the `@`.
    pub username: Option<Box<str>>,
}

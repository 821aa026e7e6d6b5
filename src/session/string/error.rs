//! The error of a session string: why a text is none. Never holds any of the text.

/// Why a text is no session string. Never holds any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionStringError {
    /// Nothing there.
    #[error("the session string is empty: log in, then export it with `StringSession.save()`")]
    Empty,
    /// The length of none of the formats.
    #[error(
        "a session string of {len} characters is of no known format: Telethon's have 353 or 369, \
         Pyrogram's 351, 356 or 362, those of GramJS 352 and more, with a 1 in front, those of mtcute and \
         MTKruto 350 and more; copy it whole"
    )]
    Length {
        /// How many characters there are, without blanks and line breaks.
        len: usize,
    },
    /// The rest of a string of Telethon or GramJS without the first character.
    #[error(
        "the session string has lost its first character: put the 1 in front that Telethon and \
         GramJS begin with"
    )]
    VersionMissing,
    /// As long as a Telethon string, but of another version.
    #[error(
        "only version 1 of the session strings of Telethon and GramJS is known: export it with \
         Telethon 1.x or GramJS 2.x"
    )]
    Version,
    /// Not a session at all.
    #[error(
        "this is a bot's token, which is no session: log the bot in with it, and give the string that \
         Telethon, GramJS or Pyrogram then exports"
    )]
    BotToken,
    /// Not base64.
    #[error(
        "the session string has characters that are not URL-safe base64: copy it again, without what \
         stands around it"
    )]
    Alphabet,
    /// The bytes make no sense.
    #[error("the session string is damaged: copy it whole, or export it again from where it came")]
    Damaged,
    /// No such data centre.
    #[error("the data centre must be 1 to 255: export the session again from where it came")]
    DataCentre,
    /// An authorization key of zeros.
    #[error("the session has no authorization key: log in before exporting it")]
    NoKey,
}

//! The value of one line of a unit file, in the shapes that the classes of keys have.

/// The value of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of the classes `Raw`, `RawList`, `Setting`, `SettingList` and `Number`.
    Text(String),
    /// Of `Words`, `Plainwords` and `Command`.
    Words(Vec<String>),
    /// Of `Pairs`.
    Pair(String, String),
    /// Of `Bool`.
    Flag(bool),
}

impl Value {
    /// The text, of a class that has one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Words(_) | Self::Pair(..) | Self::Flag(_) => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Vec<String>> for Value {
    fn from(words: Vec<String>) -> Self {
        Self::Words(words)
    }
}

impl From<(&str, &str)> for Value {
    fn from((key, value): (&str, &str)) -> Self {
        Self::Pair(key.to_owned(), value.to_owned())
    }
}

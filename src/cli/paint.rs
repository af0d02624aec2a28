//! Colours, and what is taken out of a program's line before it reaches a terminal.
use std::{io::IsTerminal, iter::Peekable, str::Chars};

/// Whether and how text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    pub const OFF: Self = Self { on: false };
}

/// Foreground colours that can be read on light and dark grounds; red is left for errors.
const COLOURS: [u8; 10] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94];

impl Paint {
    /// As the terminal and the environment say: `NO_COLOR`, then `CLICOLOR_FORCE`, then whether standard output is a terminal.
    pub fn detect() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let terminal = std::io::stdout().is_terminal() && set("TERM").is_none_or(|term| term != "dumb");
        Self::from_settings(set("NO_COLOR").as_deref(), set("CLICOLOR_FORCE").as_deref(), terminal)
    }

    /// The same from values. See no-color.org and bixense.com/clicolors.
    pub fn from_settings(no_color: Option<&str>, force: Option<&str>, terminal: bool) -> Self {
        Self { on: no_color.is_none() && (force.is_some_and(|force| force != "0") || terminal) }
    }

    /// The text in the colour that belongs to `key`: the same key always gets the same one.
    pub fn by_key(self, key: &str, text: &str) -> String {
        // FNV-1a: spreads names that differ in one digit.
        let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let colour = COLOURS.get(hash as usize % COLOURS.len()).copied().unwrap_or(36);
        self.wrap(colour, text)
    }

    /// The text in bold.
    pub fn bold(self, text: &str) -> String {
        self.wrap(1, text)
    }

    /// The text in red.
    pub fn red(self, text: &str) -> String {
        self.wrap(31, text)
    }

    fn wrap(self, code: u8, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A program's line made safe to print: no control characters, no escape sequences but colours (where colours are on), no characters that
    /// turn the direction of writing. It can therefore not move the cursor, clear the screen, set a title or hide what stands beside it.
    pub fn line(self, raw: &[u8]) -> String {
        let text = String::from_utf8_lossy(raw);
        let mut out = String::with_capacity(text.len());
        let mut coloured = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => {
                    let sequence = escape(&mut chars);
                    if self.on && sequence.ends_with('m') {
                        coloured = true;
                        out.push('\u{1b}');
                        out.push_str(&sequence);
                    }
                }
                '\t' => out.push('\t'),
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
                c if c.is_control() => {}
                c => out.push(c),
            }
        }
        if coloured {
            out.push_str("\x1b[0m");
        }
        out
    }
}

/// Takes the rest of an escape sequence; returns it if it sets colours (`[…m`), else nothing.
fn escape(chars: &mut Peekable<Chars<'_>>) -> String {
    match chars.next_if(|c| !c.is_control()) {
        Some('[') => control_sequence(chars),
        // Strings (title, hyperlink, device control): up to their end, BEL or ESC \.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
            String::new()
        }
        Some(' '..='/') => {
            chars.next();
            String::new()
        }
        Some(_) | None => String::new(),
    }
}

/// `ESC [`, parameters, a final character (ECMA-48, 5.4). Only `m` with digits is given back.
fn control_sequence(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut sequence = "[".to_owned();
    while let Some(c) = chars.next_if(|c| (' '..='?').contains(c)) {
        sequence.push(c);
    }
    let colour = sequence.chars().skip(1).all(|c| c.is_ascii_digit() || c == ';' || c == ':');
    match chars.next_if(|c| ('@'..='~').contains(c)) {
        Some('m') if colour => sequence + "m",
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: Paint = Paint { on: true };
    const OFF: Paint = Paint::OFF;

    #[test]
    fn no_color_wins_over_force_and_force_over_a_pipe() {
        for (no_color, force, terminal, on) in [
            (None, None, true, true),
            (None, None, false, false),
            (Some("1"), Some("1"), true, false),
            (None, Some("1"), false, true),
            (None, Some("0"), false, false),
        ] {
            assert_eq!(Paint::from_settings(no_color, force, terminal), Paint { on }, "{no_color:?} {force:?} {terminal}");
        }
    }

    #[test]
    fn a_log_line_cannot_rewrite_the_terminal() {
        for (raw, safe) in [
            ("\x1b[2J\x1b[Hgone", "gone"),
            ("progress 10%\rprogress 20%", "progress 10%progress 20%"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("a\x08b\x7fc\u{9b}31md", "abc31md"),
            ("\x1b(0x\x1bcz", "xz"),
            ("\u{202e}evil", "evil"),
            ("tab\tstays", "tab\tstays"),
            ("cut \x1b[31", "cut "),
            ("\x1b[31mred", "red"),
        ] {
            assert_eq!(OFF.line(raw.as_bytes()), safe, "{raw:?}");
        }
        assert_eq!(OFF.line(b"\xff\xfe ok"), "\u{fffd}\u{fffd} ok");
    }

    #[test]
    fn a_programs_own_colours_stay_and_end_with_the_line() {
        assert_eq!(ON.line(b"\x1b[1;31mred\x1b[K"), "\x1b[1;31mred\x1b[0m");
        assert_eq!(ON.line(b"plain"), "plain");
    }

    #[test]
    fn a_key_keeps_its_colour() {
        assert_eq!(ON.by_key("api-0", "x"), ON.by_key("api-0", "x"));
        assert_eq!(OFF.by_key("api-0", "x"), "x");
        assert_ne!(ON.by_key("api-0", "x"), ON.by_key("api-1", "x"));
    }
}

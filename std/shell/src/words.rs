//! A command line, taken apart into words the way shells do: blanks separate, `'…'` keeps everything,
//! `"…"` keeps everything but `\"` and `\\`, and `\` outside of quotes keeps the next character.
//!
//! There is no expansion of any kind. A quote that is not closed, or a `\` at the very end, is refused.

use std::fmt;

/// Why a line is not a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// This quote was opened and not closed.
    Quote(char),
    /// The line ends in `\`.
    Escape,
}

/// The words of a line.
///
/// # Errors
/// [`Unfinished`]
pub fn split(line: &str) -> Result<Vec<String>, Unfinished> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            blank if blank.is_whitespace() => words.extend(word.take()),
            quote @ ('\'' | '"') => quoted(quote, &mut chars, word.get_or_insert_default())?,
            '\\' => {
                let escaped = chars.next().ok_or(Unfinished::Escape)?;
                word.get_or_insert_default().push(escaped);
            }
            plain => word.get_or_insert_default().push(plain),
        }
    }
    words.extend(word);
    Ok(words)
}

fn quoted(
    quote: char,
    chars: &mut impl Iterator<Item = char>,
    word: &mut String,
) -> Result<(), Unfinished> {
    let unclosed = || Unfinished::Quote(quote);
    loop {
        match chars.next().ok_or_else(unclosed)? {
            end if end == quote => return Ok(()),
            '\\' if quote == '"' => {
                let next = chars.next().ok_or_else(unclosed)?;
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            plain => word.push(plain),
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quote(quote) => write!(f, "a {quote} is not closed"),
            Self::Escape => f.write_str("the line ends in \\"),
        }
    }
}

impl std::error::Error for Unfinished {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(words("  echo\t a  b "), ["echo", "a", "b"]);
        assert_eq!(words("   "), Vec::<String>::new());
    }

    #[test]
    fn quotes_and_escapes_keep_what_they_enclose() {
        assert_eq!(words(r#"a 'b  "c' d"#), ["a", r#"b  "c"#, "d"]);
        assert_eq!(words(r#""a \"b\" \\ \n""#), [r#"a "b" \ \n"#]);
        assert_eq!(words(r"a\ b \'"), ["a b", "'"]);
        assert_eq!(words(r#"x'y'"z""#), ["xyz"]);
    }

    #[test]
    fn empty_quotes_are_an_empty_word() {
        assert_eq!(words(r#"a '' """#), ["a", "", ""]);
    }

    #[test]
    fn what_is_not_closed_is_refused() {
        assert_eq!(split("echo 'a"), Err(Unfinished::Quote('\'')));
        assert_eq!(split(r#"echo "a\"#), Err(Unfinished::Quote('"')));
        assert_eq!(split(r"echo \"), Err(Unfinished::Escape));
    }
}

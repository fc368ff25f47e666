//! nginx's grammar: words, quotes, `{ } ;` and comments, read as `ngx_conf_read_token` reads them; blocks of Lua are skipped.

use std::sync::Arc;

use super::super::note::{Place, plain};
use super::super::settle::Refusal;
use super::super::source::SourceFile;

/// Deepest nesting of blocks.
const DEPTH_MAX: usize = 32;
/// Most words of one directive: a `server_name` of a large site has hundreds.
const WORDS_MAX: usize = 4096;

/// `name args;` or `name args { block }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub name: String,
    pub args: Vec<String>,
    pub block: Option<Vec<Directive>>,
    pub place: Place,
}

impl Directive {
    pub(super) fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    pub(super) fn children(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The directive without its block, on one line.
    pub(super) fn words(&self) -> String {
        let args = self.args.iter().map(|arg| if arg.is_empty() { "\"\"" } else { arg });
        [self.name.as_str()].into_iter().chain(args).collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

struct Reader<'a> {
    file: Arc<str>,
    text: &'a str,
    /// A byte of the text, at the beginning of a character.
    at: usize,
    line: usize,
}

/// All directives of a file.
pub(super) fn parse(source: &SourceFile) -> Result<Vec<Directive>, Refusal> {
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut reader = Reader { file: source.name.as_str().into(), text, at: 0, line: 1 };
    let mut blocks: Vec<Vec<Directive>> = vec![Vec::new()];
    let mut open: Vec<Directive> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut first = 1;
    while let Some(token) = reader.token()? {
        if words.is_empty() {
            first = reader.line;
        }
        match token {
            Token::Word(_) if words.len() == WORDS_MAX => return Err(reader.wrong("has too many words")),
            Token::Word(word) => words.push(word),
            Token::Close if !words.is_empty() => {
                return Err(reader.wrong("`}` comes before the `;` that ends a directive"));
            }
            Token::Close => {
                let done = blocks.pop().unwrap_or_default();
                let Some(mut directive) = open.pop() else {
                    return Err(reader.wrong("`}` closes no block"));
                };
                directive.block = Some(done);
                blocks.last_mut().into_iter().for_each(|block| block.push(directive.clone()));
            }
            Token::End | Token::Open if words.is_empty() => {
                return Err(reader.wrong("`;` or `{` has no directive before it"));
            }
            Token::End => {
                let directive = directive(&mut words, Place::new(&reader.file, first));
                blocks.last_mut().into_iter().for_each(|block| block.push(directive.clone()));
            }
            Token::Open => {
                let mut directive = directive(&mut words, Place::new(&reader.file, first));
                if directive.name.ends_with("_by_lua_block") {
                    reader.skip_lua()?;
                    directive.block = Some(Vec::new());
                    blocks.last_mut().into_iter().for_each(|block| block.push(directive.clone()));
                    continue;
                }
                if open.len() == DEPTH_MAX {
                    return Err(reader.wrong(&format!("has more than {DEPTH_MAX} blocks within each other")));
                }
                open.push(directive);
                blocks.push(Vec::new());
            }
        }
    }
    if let Some(directive) = open.pop() {
        let message = format!("the block `{}` is not closed", plain(&directive.words()));
        return Err(Refusal::new(Some(directive.place), message));
    }
    if !words.is_empty() {
        return Err(Refusal::new(Some(Place::new(&reader.file, first)), "the last directive has no `;`"));
    }
    Ok(blocks.pop().unwrap_or_default())
}

fn directive(words: &mut Vec<String>, place: Place) -> Directive {
    let mut words = std::mem::take(words).into_iter();
    Directive { name: words.next().unwrap_or_default(), args: words.collect(), block: None, place }
}

impl Reader<'_> {
    fn wrong(&self, message: &str) -> Refusal {
        let is_template = self.text.contains("{{") || self.text.contains("{%");
        let hint = if is_template { "; it looks like a template: render it first" } else { "" };
        let place = Place::new(&self.file, self.line);
        Refusal::new(Some(place), format!("{message}{hint}"))
    }

    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn token(&mut self) -> Result<Option<Token>, Refusal> {
        while let Some(c) = self.peek() {
            match c {
                c if c.is_ascii_whitespace() => _ = self.next(),
                '#' => while self.next().is_some_and(|c| c != '\n') {},
                _ => break,
            }
        }
        let Some(c) = self.peek() else { return Ok(None) };
        let sign = match c {
            ';' => Some(Token::End),
            '{' => Some(Token::Open),
            '}' => Some(Token::Close),
            _ => None,
        };
        if sign.is_some() {
            self.next();
            return Ok(sign);
        }
        let word = if matches!(c, '"' | '\'') { self.quoted()? } else { self.bare() };
        Ok(Some(Token::Word(word)))
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        let mut last = '\0';
        while let Some(c) = self.peek() {
            // `${name}` is a variable, not a block
            if c.is_ascii_whitespace() || c == ';' || c == '{' && last != '$' {
                break;
            }
            self.next();
            last = c;
            if c == '\\' {
                word.extend(self.escaped());
            } else {
                word.push(c);
            }
        }
        word
    }

    fn quoted(&mut self) -> Result<String, Refusal> {
        let begin = self.line;
        let quote = self.next();
        let mut word = String::new();
        while let Some(c) = self.next() {
            if c == '\\' {
                word.extend(self.escaped());
            } else if Some(c) == quote {
                let ends = |c: char| c.is_ascii_whitespace() || matches!(c, ';' | '{' | ')');
                return match self.peek() {
                    Some(c) if !ends(c) => Err(self.wrong("a quote ends within a word")),
                    _ => Ok(word),
                };
            } else {
                word.push(c);
            }
        }
        Err(Refusal::new(Some(Place::new(&self.file, begin)), "a quote is not closed"))
    }

    /// The characters that a backslash and the one behind it stand for.
    fn escaped(&mut self) -> Vec<char> {
        match self.next() {
            None => vec!['\\'],
            Some(c @ ('"' | '\'' | '\\')) => vec![c],
            Some('t') => vec!['\t'],
            Some('r') => vec!['\r'],
            Some('n') => vec!['\n'],
            Some(c) => vec!['\\', c],
        }
    }

    /// Goes behind the `}` that ends a block of Lua: braces in its strings and comments do not count.
    fn skip_lua(&mut self) -> Result<(), Refusal> {
        let begin = self.line;
        let mut depth = 1;
        while let Some(c) = self.next() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                '"' | '\'' => self.skip_lua_string(c),
                '[' => _ = self.skip_long_bracket(),
                '-' if self.peek() == Some('-') => {
                    self.next();
                    let is_long = self.peek() == Some('[') && {
                        self.next();
                        self.skip_long_bracket()
                    };
                    if !is_long {
                        while self.peek().is_some_and(|c| c != '\n') {
                            self.next();
                        }
                    }
                }
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(Refusal::new(Some(Place::new(&self.file, begin)), "a block of Lua is not closed"))
    }

    fn skip_lua_string(&mut self, quote: char) {
        while let Some(c) = self.next() {
            match c {
                '\\' => _ = self.next(),
                // an unfinished string ends with its line
                c if c == quote || c == '\n' => return,
                _ => {}
            }
        }
    }

    /// Behind a `[`: `[ ... ]]` or `==[ ... ]==]`, if it is one.
    fn skip_long_bracket(&mut self) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let level = rest.bytes().take_while(|byte| *byte == b'=').count();
        if rest.as_bytes().get(level) != Some(&b'[') {
            return false;
        }
        let end = format!("]{}]", "=".repeat(level));
        let length = rest.find(&end).map_or(rest.len(), |at| at + end.len());
        let skipped = rest.get(..length).unwrap_or_default();
        self.line += skipped.matches('\n').count();
        self.at += length;
        true
    }
}

//! Reads a Rust file just far enough to count: where functions begin and end, and which lines are tests.

/// A file whose comments, strings and characters are blanked, so that what is left is code.
pub(crate) struct Source {
    /// As long as the file, with its line breaks.
    pub(crate) code: String,
    /// For each line, whether it belongs to something under `#[cfg(test)]`.
    test: Vec<bool>,
    /// The names of `#[cfg(test)] mod NAME;`.
    pub(crate) test_modules: Vec<String>,
    /// Every function with a body.
    pub(crate) functions: Vec<Function>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Counted from 1, as everywhere here.
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
}

impl Source {
    pub(crate) fn read(text: &str) -> Self {
        let code = blank(text);
        let mut source =
            Self { test: vec![false; code.lines().count()], test_modules: vec![], functions: vec![], code };
        source.find_tests();
        source.find_functions();
        source
    }

    /// The number of lines outside tests.
    pub(crate) fn plain_lines(&self) -> usize {
        self.test.iter().filter(|test| !**test).count()
    }

    /// The lines that hold `text` in code, each with whether it is a test's.
    pub(crate) fn lines_with(&self, text: &str) -> impl Iterator<Item = (usize, bool)> {
        let lines = self.code.lines().zip(&self.test).enumerate();
        lines.filter(move |(_, (line, _))| line.contains(text)).map(|(n, (_, test))| (n + 1, *test))
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    fn find_tests(&mut self) {
        for (at, _) in self.code.match_indices("#[cfg(").chain(self.code.match_indices("#![cfg(")) {
            let Some(length) = self.code[at..].find(']') else { continue };
            let attribute = self.code[at..at + length].replace(char::is_whitespace, "");
            let (start, item) = (self.line(at), at + length + 1);
            let condition = attribute.trim_start_matches(['#', '!', '[']);
            if condition != "cfg(test)" && !condition.starts_with("cfg(all(test,") {
                continue;
            }
            let end = if attribute.starts_with("#!") { self.code.len() } else { item_end(&self.code, item) };
            let module =
                self.code[item..end].rsplit_once("mod ").and_then(|(_, rest)| rest.strip_suffix(';'));
            self.test_modules.extend(module.map(|name| name.trim().to_owned()));
            let end = self.line(end).min(self.test.len());
            self.test[start - 1..end].fill(true);
        }
    }

    fn find_functions(&mut self) {
        for (at, _) in self.code.match_indices("fn ") {
            let name: String = self.code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
            if name.is_empty() || self.code[..at].ends_with(is_word) {
                continue;
            }
            let end = item_end(&self.code, at);
            if self.code[..end].ends_with('}') {
                let (line, last) = (self.line(at), self.line(end));
                self.functions.push(Function { name, line, lines: last - line + 1 });
            }
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the item that begins at `from` ends: behind its `;`, or behind the brace that closes its body.
fn item_end(code: &str, from: usize) -> usize {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, c) in code.bytes().enumerate().skip(from) {
        match c {
            b'(' | b'[' => brackets += 1,
            b')' | b']' => brackets -= 1,
            b'{' if brackets == 0 => braces += 1,
            b'}' if brackets == 0 => braces -= 1,
            b';' if brackets == 0 && braces == 0 => return at + 1,
            _ => continue,
        }
        if brackets < 0 || braces < 0 {
            return at;
        }
        if c == b'}' && brackets == 0 && braces == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Replaces comments, strings and characters by spaces.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = not_code(rest, code.ends_with(is_word));
        if length == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.extend(rest[..length].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        }
    }
    code
}

/// The length of the comment, string or character that `text` begins with, or 0.
fn not_code(text: &str, after_word: bool) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return comment(text);
    }
    if text.starts_with('"') {
        return quoted(text, '"');
    }
    if let Some(character) = text.strip_prefix('\'') {
        let mut two = character.chars();
        let literal = two.next() == Some('\\') || two.next() == Some('\'');
        return if literal { quoted(text, '\'') } else { 0 };
    }
    if after_word { 0 } else { raw_string(text) }
}

/// Block comments nest.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let Some(start) = ["r", "br", "cr"].iter().find_map(|prefix| text.strip_prefix(prefix)) else { return 0 };
    let hashes = start.len() - start.trim_start_matches('#').len();
    if !start[hashes..].starts_with('"') {
        return 0;
    }
    let body = &start[hashes + 1..];
    let close = format!("\"{}", "#".repeat(hashes));
    body.find(&close).map_or(text.len(), |at| text.len() - body.len() + at + close.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(text: &str) -> Vec<(String, usize, usize)> {
        Source::read(text).functions.into_iter().map(|f| (f.name, f.line, f.lines)).collect()
    }

    #[test]
    fn a_function_reaches_from_fn_to_its_closing_brace() {
        let text = "/// Docs with fn in them {\n#[inline]\npub async fn a<const N: usize>(\n    x: [u8; 4],\n) -> u8 {\n    if x { y } else { z }\n}\nfn b() {}\n";
        assert_eq!(lengths(text), [("a".into(), 3, 5), ("b".into(), 8, 1)]);
    }

    #[test]
    fn braces_in_text_and_characters_do_not_count() {
        let text = "fn a() {\n let b = '{';\n let c = \"}{\\\"}\";\n let d = r#\"}\"}\"#; /* } /* } */ */\n let e: &'static str = b\"}\"; // }\n let f = '\\'';\n}\nfn z() {\n}\n";
        assert_eq!(lengths(text), [("a".into(), 1, 7), ("z".into(), 8, 2)]);
    }

    #[test]
    fn declarations_pointers_and_words_with_fn_are_no_functions() {
        assert_eq!(lengths("trait T {\n fn a(&self) -> [u8; 2];\n}\ntype F = fn (u8);\nlet myfn = 1;\n"), []);
    }

    #[test]
    fn a_function_in_a_function_is_counted_by_itself() {
        assert_eq!(lengths("fn a() {\n fn b() {\n }\n}\n"), [("a".into(), 1, 4), ("b".into(), 2, 2)]);
    }

    #[test]
    fn test_modules_and_items_are_no_plain_lines() {
        let text = "fn a() {}\n#[cfg(test)]\nuse x::{y, z};\n\n#[cfg(all(test, feature = \"f\"))]\n#[path = \"t\"]\nmod tests {\n    fn t() { \"}\" }\n}\nfn b() {}\n";
        let source = Source::read(text);
        assert_eq!(source.plain_lines(), 3);
        assert_eq!(source.lines_with("fn ").collect::<Vec<_>>(), [(1, false), (8, true), (10, false)]);
    }

    #[test]
    fn code_for_tests_of_others_is_plain() {
        let source = Source::read("#[cfg(any(test, feature = \"test-util\"))]\nmod vectors;\n");
        assert_eq!((source.plain_lines(), source.test_modules.len()), (2, 0));
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_named() {
        let source = Source::read("mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod kit;\n");
        assert_eq!(source.test_modules, ["tests", "kit"]);
        assert_eq!(source.plain_lines(), 1);
    }

    #[test]
    fn a_whole_file_can_be_a_test() {
        assert_eq!(Source::read("#![cfg(test)]\nfn a() {}\nfn b() {}\n").plain_lines(), 0);
    }

    #[test]
    fn code_is_found_and_text_is_not() {
        let source = Source::read("// dbg!(x)\nlet a = \"dbg!\";\ndbg!(a);\n");
        assert_eq!(source.lines_with("dbg!").collect::<Vec<_>>(), [(3, false)]);
    }
}

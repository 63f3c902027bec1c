package config

import "strings"

// words say in this project's words what the parser of TOML says. In theirs, *
// stands for any text. What no row matches stays as it is.
var words = []struct {
	ours   string
	theirs []string
}{
	{`the string is not closed: want " at its end`, []string{"basic strings cannot have new lines", "unterminated basic string"}},
	{"the string is not closed: want ' at its end", []string{"literal strings cannot have new lines", "unterminated literal string"}},
	{`the string is not closed: want """ at its end`, []string{"multiline basic string* not terminated by *"}},
	{"the string is not closed: want ''' at its end", []string{"multiline literal string* not terminated by *"}},
	{"a string may have no control characters", []string{"basic strings cannot have control characters", "literal strings cannot have control characters"}},
	{`not a value: a string stands in quotes, "like this"; else want a number, true, false, [ … ] or { … }`, []string{"strings must be quoted", "unexpected character * at start of value", "expected keyword *"}},
	{"the value is missing", []string{"expected value,*", "expected value but*"}},
	{"want = after the key", []string{"expected '=' after key"}},
	{"more after the value: one key a line", []string{"expected newline but got *"}},
	{"want a key or a [section] here", []string{"invalid character at start of key: *"}},
	{"want a key here", []string{"expected key but reached end of input"}},
	{"want ] at the end of the section's name", []string{"expected ']' to close *table name"}},
	{"want ]] at the end of the section's name", []string{"expected ']]' to close *table name"}},
	{"the list is not closed: want , or ]", []string{"array is incomplete", "expected ',' or ']' after array value"}},
	{"the table is not closed: want , or }", []string{"inline table is incomplete", "expected ',' or '}' after inline table key-value"}},
	{`\ begins a special character, such as \n: for a backslash write \\, or put the string between single quotes`, []string{"invalid escape character *", `need a character after \`}},
	{"a carriage return without a line feed after it: remove it", []string{"carriage returns *"}},
}

// rephrase returns what the parser says is wrong with a file in the words of this project.
func rephrase(message string) string {
	for _, w := range words {
		for _, pattern := range w.theirs {
			if matches(pattern, message) {
				return w.ours
			}
		}
	}
	return message
}

// matches says whether the text is the pattern, in which each * stands for any text.
func matches(pattern, text string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return text == pattern
	}
	text, ok := strings.CutPrefix(text, before)
	for ; ok && text != ""; text = text[1:] {
		if matches(after, text) {
			return true
		}
	}
	return ok && matches(after, text)
}

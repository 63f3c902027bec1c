package config

import (
	"regexp"
	"strings"
)

// words say in this project's words what the parsers of TOML and JSON say. What no row
// matches stays as it is. In the text, {} is what the pattern's group matched.
var words = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	// TOML
	{regexp.MustCompile(`^(?:basic strings cannot have new lines|unterminated basic string)$`), `the string is not closed: want " at its end`},
	{regexp.MustCompile(`^(?:literal strings cannot have new lines|unterminated literal string)$`), "the string is not closed: want ' at its end"},
	{regexp.MustCompile(`^multiline .*strings? not terminated by (.*)$`), "the string is not closed: want {} at its end"},
	{regexp.MustCompile(`^(?:basic|literal) strings cannot have control characters$`), "a string may have no control characters"},
	{regexp.MustCompile(`^(?:strings must be quoted|unexpected character .* at start of value|expected keyword .*)$`), `not a value: a string stands in quotes, "like this"; else want a number, true, false, [ … ] or { … }`},
	{regexp.MustCompile(`^expected value(?:,| but).*$`), "the value is missing"},
	{regexp.MustCompile(`^expected '=' after key$`), "want = after the key"},
	{regexp.MustCompile(`^expected newline but got .*$`), "more after the value: one key a line"},
	{regexp.MustCompile(`^invalid character at start of key: .*$`), "want a key or a [section] here"},
	{regexp.MustCompile(`^expected key but reached end of input$`), "want a key here"},
	{regexp.MustCompile(`^expected '(\]+)' to close .*table name$`), "want {} at the end of the section's name"},
	{regexp.MustCompile(`^(?:array is incomplete|expected ',' or '\]' after array value)$`), "the list is not closed: want , or ]"},
	{regexp.MustCompile(`^(?:inline table is incomplete|expected ',' or '\}' after inline table key-value)$`), "the table is not closed: want , or }"},
	{regexp.MustCompile(`^(?:invalid escape character .*|need a character after \\)$`), `\ begins a special character, such as \n: for a backslash write \\, or put the string between single quotes`},
	{regexp.MustCompile(`^carriage returns .*$`), "a carriage return without a line feed after it: remove it"},
	// JSON
	{regexp.MustCompile(`^unexpected end of JSON input$`), "the file ends too early: a } or ] is missing"},
	{regexp.MustCompile(`^invalid character '\}' looking for beginning of object key string$`), "a comma before }: remove it"},
	{regexp.MustCompile(`^invalid character '\]' looking for beginning of value$`), "a comma before ]: remove it"},
	{regexp.MustCompile(`^invalid character .* looking for beginning of object key string$`), "want a key in double quotes"},
	{regexp.MustCompile(`^invalid character .* (?:looking for beginning of value|in literal .*|in numeric literal|after .* in numeric literal)$`), "not a value: a string stands in double quotes; else want a number, true, false, [ … ] or { … }"},
	{regexp.MustCompile(`^invalid character .* after object key$`), "want : after the key"},
	{regexp.MustCompile(`^invalid character .* after object key:value pair$`), "want , or } after the value"},
	{regexp.MustCompile(`^invalid character .* after array element$`), "want , or ] after the value"},
	{regexp.MustCompile(`^invalid character .* after top-level value$`), "more after the end of the file's object: remove it"},
	{regexp.MustCompile(`^invalid character .* in string literal$`), "a string may have no line end or control character in it: close it, or write \\n"},
	{regexp.MustCompile(`^invalid character .* in (?:string escape code|\\u hexadecimal character escape)$`), `\ begins a special character, such as \n: for a backslash write \\`},
}

// inOurWords returns what a parser says is wrong with a file in the words of this project.
func inOurWords(message string) string {
	for _, w := range words {
		if m := w.theirs.FindStringSubmatch(message); m != nil {
			return strings.ReplaceAll(w.ours, "{}", m[len(m)-1])
		}
	}
	return message
}

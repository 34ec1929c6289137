package main

import "strings"

// word is a word of Lua: a name with its dots ('w'), a number ('n'), a string with
// its quotes ('s') or an operator ('o').
type word struct {
	kind byte
	at   int
	text string
}

// code returns a line without the comment at its end.
func code(line string) string {
	for _, w := range lex(line) {
		if w.text == "--" {
			return strings.TrimRight(line[:w.at], " ")
		}
	}
	return line
}

// lex splits a line up to a comment.
func lex(line string) []word {
	var words []word
	for i := 0; i < len(line); {
		if line[i] == ' ' {
			i++
			continue
		}
		w := word{kindOf(line[i]), i, ""}
		w.text = line[i : i+length(line[i:], w.kind)]
		i += len(w.text)
		words = append(words, w)
		if w.text == "--" {
			break
		}
	}
	return words
}

func kindOf(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return 'n'
	case letter(c):
		return 'w'
	case c == '\'':
		return 's'
	}
	return 'o'
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' }

// length returns how long the word of the given kind is that s begins with.
func length(s string, kind byte) int {
	n := 1
	switch kind {
	case 'n', 'w':
		for n < len(s) && (letter(s[n]) || '0' <= s[n] && s[n] <= '9' || kind == 'w' && s[n] == '.' && n+1 < len(s) && letter(s[n+1])) {
			n++
		}
	case 's':
		for n < len(s) && s[n] != '\'' {
			n++
		}
		n = min(n+1, len(s))
	default:
		for _, long := range []string{"--", "<=", ">=", "==", "~=", ".."} {
			if strings.HasPrefix(s, long) {
				return 2
			}
		}
	}
	return n
}

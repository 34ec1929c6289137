package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// scripts are texts by the names of their files.
type scripts map[string]string

func readScripts(dir string) (scripts, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.lua"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no scripts in %s: is this the root of the module? %w", dir, err)
	}
	all := scripts{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		all[filepath.Base(file)] = string(text)
	}
	return all, nil
}

func (s scripts) names() []string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// mutant is a script with one line changed.
type mutant struct {
	script   string
	line     int
	old, new string // that line, without spaces around it; new is empty where it is left out
	text     string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d\n- %s\n+ %s", m.script, m.line, m.old, m.new)
}

// key tells mutants apart also after lines have moved.
func (m mutant) key() string { return m.script + "\n" + m.old + "\n" + m.new }

// mutate returns all mutants of a script, each once.
func mutate(name, text string) []mutant {
	lines := strings.Split(text, "\n")
	var all []mutant
	for i, line := range lines {
		for _, changed := range changes(line) {
			mutated := slices.Clone(lines)
			mutated[i] = changed
			all = append(all, mutant{
				script: name, line: i + 1, text: strings.Join(mutated, "\n"),
				old: strings.TrimSpace(code(line)), new: strings.TrimSpace(changed),
			})
		}
	}
	return all
}

// step is the least number that is the size of a step, for which one more is as
// good.
const step = 100

// changes returns what may become of a line.
func changes(line string) []string {
	line = code(line)
	words := lex(line)
	if len(words) == 0 {
		return nil
	}
	var all []string
	add := func(from, to word, text string) {
		changed := line[:from.at] + text + line[to.at+len(to.text):]
		if !slices.Contains(all, changed) {
			all = append(all, changed)
		}
	}
	decides := false // the word is part of a condition, which is made true and false anyway
	for i, w := range words {
		decides = w.kind == 'w' && conditionEnd(words, i) > 0 || decides && w.text != "then" && w.text != "do"
		for _, text := range swaps[w.text] {
			if !decides || w.text != "==" && w.text != "~=" {
				add(w, w, text)
			}
		}
		if n, err := strconv.Atoi(w.text); err == nil && n < step && !index(words, i) {
			add(w, w, strconv.Itoa(n+1))
		}
		if w.text == "-" || w.text == "+" {
			if i > 0 && operand(words[i-1]) && !index(words, i) {
				add(w, w, map[string]string{"-": "+", "+": "-"}[w.text])
			}
		}
		if end := conditionEnd(words, i); end > 0 {
			add(words[i+1], words[end-1], "true")
			add(words[i+1], words[end-1], "false")
		}
	}
	if statement(line, words) && !only(words) {
		all = append(all, "")
	}
	return all
}

// swaps is what may stand in the place of a word.
var swaps = map[string][]string{
	"<": {"<="}, "<=": {"<"}, ">": {">="}, ">=": {">"}, "==": {"~="}, "~=": {"=="},
	"and": {"or"}, "or": {"and"}, "not": {""}, "true": {"false"}, "false": {"true"},
	"math.min": {"math.max"}, "math.max": {"math.min"}, "math.ceil": {"math.floor"},
	"'('": {"''"}, "'GT'": {"'LT'"}, "'-inf'": {"'+inf'"},
	"'ZCARD'": {"'EXISTS'"}, "'HLEN'": {"'EXISTS'"}, "'LLEN'": {"'EXISTS'"}, // which takes any type
}

// index reports that a number or an operator is part of an index that any test
// notices if it is wrong: a constant, or the end of a list.
func index(words []word, i int) bool {
	for ; i >= 0 && words[i].text != "]"; i-- {
		if words[i].text == "[" {
			return words[i+1].text == "#" || words[i+1].kind == 'n' && words[i+2].text == "]"
		}
	}
	return false
}

// operand reports that a value ends with the word.
func operand(w word) bool {
	return w.text == ")" || w.text == "]" || w.kind == 'n' || w.kind == 's' || w.kind == 'w' && w.text != "return"
}

// conditionEnd returns the index of the word after the condition that begins
// after word i, or 0.
func conditionEnd(words []word, i int) int {
	end := map[string]string{"if": "then", "elseif": "then", "while": "do"}[words[i].text]
	if end == "" {
		return 0
	}
	for j := i + 2; j < len(words); j++ {
		if words[j].text == end {
			return j
		}
	}
	return 0
}

// only reports that a statement does nothing but ask for the type of a key, which
// another mutant leaves out.
func only(words []word) bool {
	return len(words) > 2 && words[0].text == "redis.call" && slices.Contains([]string{"'ZCARD'", "'HLEN'", "'LLEN'"}, words[2].text)
}

// statement reports that a line is one statement that may be left out: a call or
// an assignment that is complete.
func statement(line string, words []word) bool {
	switch words[0].text {
	case "local", "if", "elseif", "else", "for", "while", "end", "return", "function", "break", "}", ")", "{":
		return false
	}
	if words[0].kind != 'w' || strings.HasSuffix(line, ",") {
		return false
	}
	depth := 0
	for _, w := range words {
		switch w.text {
		case "(", "{", "[":
			depth++
		case ")", "}", "]":
			depth--
		}
	}
	call := words[len(words)-1].text == ")"
	assignment := slices.ContainsFunc(words, func(w word) bool { return w.text == "=" })
	return depth == 0 && (call || assignment)
}

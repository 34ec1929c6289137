package main

import (
	"slices"
	"strings"
	"testing"
)

func TestMutantsOfALine(t *testing.T) {
	for _, tt := range []struct {
		line string
		want []string
	}{
		{"-- if a < b then", nil},
		{"if a < b then x = 'a < b' end", []string{
			"if true then x = 'a < b' end", "if false then x = 'a < b' end", "if a <= b then x = 'a < b' end",
		}},
		{"return a == 1 and 2 or 0 -- why", []string{
			"return a ~= 1 and 2 or 0", "return a == 2 and 2 or 0", "return a == 1 or 2 or 0", "return a == 1 and 3 or 0",
			"return a == 1 and 2 and 0", "return a == 1 and 2 or 1",
		}},
		{"redis.call('ZADD', key, now + span, id)", []string{"redis.call('ZADD', key, now - span, id)", ""}},
		{"for _, k in ipairs(keys) do redis.call('HLEN', k) end", []string{"for _, k in ipairs(keys) do redis.call('EXISTS', k) end"}},
		{"redis.call('LLEN', wake)", []string{"redis.call('EXISTS', wake)"}},
		{"local first, all, step = KEYS[1], out[#out + 1], 500", nil},
	} {
		if got := changes(tt.line); !slices.Equal(got, tt.want) && (len(got) != len(tt.want) || !slices.Equal(slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(tt.want)))) {
			t.Errorf("changes(%q) = %q, want %q", tt.line, got, tt.want)
		}
	}
}

func TestAllowancesAreOfMutantsThatThereAre(t *testing.T) {
	allowed, err := parseAllowed(allowedText)
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := readScripts("../../../lua")
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant
	for name, text := range scripts {
		all = append(all, mutate(name, text)...)
	}
	if unused := allowed.unused(all); len(unused) > 0 {
		t.Errorf("allowed.txt has what is no mutant:\n%s", strings.Join(unused, "\n\n"))
	}
}

func TestAnAllowanceNeedsAReason(t *testing.T) {
	if _, err := parseAllowed("push.lua\n- a\n+ b\n"); err == nil {
		t.Error("no error without a reason")
	}
	allowed, err := parseAllowed("# because\npush.lua\n- a\n+ b\n+ c\n")
	if err != nil || len(allowed) != 2 || !allowed.has(mutant{script: "push.lua", old: "a", new: "c"}) {
		t.Errorf("parseAllowed = %v, %v, want two", allowed, err)
	}
}

package sqlqueue

import "testing"

func TestCountStandbys(t *testing.T) {
	for names, want := range map[string]int{
		"": 0, " ": 0, "a": 1, "a, b": 1, "*": 1, "2 (a, b, c)": 2, "FIRST 2 (a, b)": 2, "any 3 (*)": 3, "ANY x (a)": 1, "(a)": 1,
	} {
		if got := countStandbys(names); got != want {
			t.Errorf("countStandbys(%q) = %d, want %d", names, got, want)
		}
	}
}

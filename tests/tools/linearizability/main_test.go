package main

import (
	"strings"
	"testing"
)

// faults checks a history of one item: each line has client, operation, value, version, invoked, returned, outcome.
func faults(t *testing.T, lines ...string) []string {
	t.Helper()
	var history strings.Builder
	for _, line := range lines {
		words := strings.Fields(line)
		history.WriteString(`{"item":"a","client":` + words[0] + `,"operation":"` + words[1] + `","value":"` + words[2] +
			`","version":` + words[3] + `,"invoked":` + words[4] + `,"returned":` + words[5] + `,"outcome":"` + words[6] + "\"}\n")
	}
	items, err := read(strings.NewReader(history.String()))
	if err != nil {
		t.Fatal(err)
	}
	return check(items)
}

func TestHistories(t *testing.T) {
	const first, second = "1 write x 0 0 1 ok", "1 write y 1 10 20 ok"
	histories := []struct {
		name  string
		right bool
		lines []string
	}{
		{"a read after each write", true, []string{first, "2 read x 1 2 3 ok", second, "2 read y 2 21 22 ok"}},
		{"reads during a write, the old value first", true, []string{first, second, "2 read x 1 11 12 ok", "3 read y 2 13 14 ok"}},
		{"reads during a write, the new value first", false, []string{first, second, "2 read y 2 11 12 ok", "3 read x 1 13 14 ok"}},
		{"an old value after the write", false, []string{first, second, "2 read x 1 21 22 ok"}},
		{"a value that nobody wrote", false, []string{first, "2 read z 1 2 3 ok"}},
		{"a write that was carried out twice", false, []string{first, second, "2 read y 3 21 22 ok"}},
		{"a write that was lost", false, []string{first, second, "1 write z 1 30 40 ok"}},
		{"an unanswered write that happens later", true, []string{first, "1 write y 1 2 3 unknown", "2 read x 1 4 5 ok", "2 read y 2 6 7 ok"}},
		{"an unanswered write that never happens", true, []string{first, "1 write y 1 2 3 unknown", "2 read x 1 4 5 ok"}},
		{"an unanswered write that happens and is undone", false, []string{first, "1 write y 1 2 3 unknown", "2 read y 2 4 5 ok", "2 read x 1 6 7 ok"}},
		{"an unanswered write between two others", true, []string{first, "1 write y 1 2 3 unknown", "2 write z 2 10 20 ok", "2 read z 3 21 22 ok"}},
		{"one unanswered write for two versions", false, []string{first, "1 write y 1 2 3 unknown", "2 write z 3 10 20 ok", "2 read z 4 21 22 ok"}},
		{"an unanswered write that happens twice", false, []string{first, "1 write y 1 2 3 unknown", "2 read y 2 4 5 ok", "2 read y 3 6 7 ok"}},
		{"a refused write that is seen", false, []string{first, "1 write y 1 2 3 failed", "2 read y 2 4 5 ok"}},
	}
	for _, history := range histories {
		t.Run(history.name, func(t *testing.T) {
			if found := faults(t, history.lines...); (len(found) == 0) != history.right {
				t.Errorf("faults: %q", found)
			}
		})
	}
}

func TestMalformedHistories(t *testing.T) {
	for _, line := range []string{"{", `{"operation":"delete","outcome":"ok"}`, `{"operation":"read","outcome":"maybe"}`} {
		if _, err := read(strings.NewReader(line)); err == nil {
			t.Errorf("%s is read", line)
		}
	}
}

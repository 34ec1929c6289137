package ledger

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestFile(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, Consumer, 12, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	want := []Record{
		{Kind: Intent, At: 3 * time.Hour, Event: NewEvent(1<<20, 1<<39), Count: 255},
		{Kind: End, At: time.Microsecond, Event: NewEvent(1, 0), Group: 15, Count: 3, Value: Canceled},
		{Kind: Stall, Value: 255},
	}
	if err := w.Write(want...); err != nil {
		t.Fatal(err)
	}
	files, err := List(dir, Consumer)
	if err != nil || len(files) != 1 || files[0].Process != 12 {
		t.Fatalf("List = %v, %v, want the file of process 12", files, err)
	}
	read := func() []Record {
		var got []Record
		if err := files[0].Read(func(r Record) { got = append(got, r) }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(); !slices.Equal(got, want) {
		t.Errorf("Read = %v, want %v", got, want)
	}
	if got := read(); len(got) > 0 {
		t.Errorf("second Read = %v, want nothing new", got)
	}

	// A process that is killed may leave a part of a record.
	f, err := os.OpenFile(filepath.Join(dir, "consumer-000012"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(make([]byte, size/2)); err != nil {
		t.Fatal(err)
	}
	if got := read(); len(got) > 0 {
		t.Errorf("Read of half a record = %v, want nothing", got)
	}
	files[0].Rewind()
	if got := read(); !slices.Equal(got, want) {
		t.Errorf("Read after Rewind = %v, want %v", got, want)
	}
}

func TestEvent(t *testing.T) {
	e := NewEvent(1<<20, 1<<40-1)
	if e.Process() != 1<<20 || e.Seq() != 1<<40-1 {
		t.Errorf("event = %v, want %d.%d", e, 1<<20, 1<<40-1)
	}
}

package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Role is what a process does; it is part of the name of its file.
type Role string

// The roles. Those of producers sort behind those of consumers.
const (
	Producer Role = "producer"
	Consumer Role = "consumer"
)

// Writer writes the file of one process. It is safe for concurrent use.
type Writer struct {
	file  *os.File
	epoch time.Time
}

// Create makes the file of a process in dir. Times are counted from epoch.
func Create(dir string, role Role, process int, epoch time.Time) (*Writer, error) {
	name := filepath.Join(dir, fmt.Sprintf("%s-%06d", role, process))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Writer{file: f, epoch: epoch}, nil
}

// Now is the time of a record that is written now.
func (w *Writer) Now() time.Duration { return time.Since(w.epoch) }

// Write appends records in one write(2).
func (w *Writer) Write(records ...Record) error {
	var room [8 * size]byte
	b := room[:0]
	for _, r := range records {
		b = r.append(b)
	}
	_, err := w.file.Write(b)
	return err
}

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }

// File is the file of a process as a reader sees it: what was written after one
// Read is what the next Read returns.
type File struct {
	Role    Role
	Process int
	path    string
	offset  int64
}

// List returns the files in dir of processes of a role, by their numbers.
func List(dir string, role Role) ([]*File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, string(role)+"-*")) // sorted
	if err != nil {
		return nil, err
	}
	var files []*File
	for _, path := range paths {
		_, number, _ := strings.Cut(filepath.Base(path), "-")
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, err
		}
		files = append(files, &File{Role: role, Process: n, path: path})
	}
	return files, nil
}

// Read calls f with each record that it has not called it with. A record of
// which only a part is there is left for the next Read.
func (l *File) Read(f func(Record)) error {
	file, err := os.Open(l.path)
	if err != nil {
		return err
	}
	defer file.Close()
	b := make([]byte, 1<<16)
	for {
		n, err := file.ReadAt(b, l.offset)
		n -= n % size
		for at := 0; at < n; at += size {
			f(parse(b[at : at+size]))
		}
		l.offset += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Rewind lets the next Read begin with the first record.
func (l *File) Rewind() { l.offset = 0 }

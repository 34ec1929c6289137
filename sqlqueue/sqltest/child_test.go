package sqltest

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
)

// roles are what a child process can do until it is killed. It prints what has
// been done, a line each.
var roles = map[string]func(e engine, db *sql.DB, d *fanfare.Durable) error{
	"produce": produce,
	"work":    work,
	"relay":   relayAll,
}

// playRole is the main function of a child process.
func playRole() int {
	e, db, b, err := connectFromEnv()
	if err == nil {
		var d *fanfare.Durable
		if d, err = fanfare.New(b); err == nil {
			err = roles[os.Getenv(childRole)](e, db, d)
		}
	}
	fmt.Fprintln(os.Stderr, "child:", err)
	return 1
}

// child is the test binary again, in a role.
type child struct {
	cmd   *exec.Cmd
	first chan struct{} // closed after the first line
	mu    sync.Mutex
	lines []string
	ended chan struct{}
}

func startChild(t *testing.T, role string, env []string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-test.run=^$"), first: make(chan struct{}), ended: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), env...), childRole+"="+role)
	c.cmd.Stderr = os.Stderr
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	go func() { // kill waits for it
		defer close(c.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.mu.Lock()
			if c.lines = append(c.lines, s.Text()); len(c.lines) == 1 {
				close(c.first)
			}
			c.mu.Unlock()
		}
	}()
	t.Cleanup(func() { c.kill() })
	return c
}

// kill ends the child with SIGKILL and returns all that it printed.
func (c *child) kill() []string {
	_ = c.cmd.Process.Kill()
	<-c.ended
	_ = c.cmd.Wait()
	return c.lines
}

// orders is a table of the program beside those of the queue.
func (e engine) orders(prefix string) string { return prefix + "orders" }

func (e engine) createOrders(t *testing.T, db *sql.DB, prefix string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), "CREATE TABLE "+e.orders(prefix)+" (id varchar(99) PRIMARY KEY)")
	require.NoError(t, err)
}

// insertOrder inserts a row. The ids are of tests, and need no quoting.
func (e engine) insertOrder(ctx context.Context, tx *sql.Tx, prefix, id string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO "+e.orders(prefix)+" (id) VALUES ('"+id+"')")
	return err
}

// ordersIn returns the ids of all rows.
func (e engine) ordersIn(t *testing.T, db *sql.DB, prefix string) map[string]bool {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT id FROM "+e.orders(prefix))
	require.NoError(t, err)
	defer rows.Close()
	all := map[string]bool{}
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		all[id] = true
	}
	require.NoError(t, rows.Err())
	return all
}

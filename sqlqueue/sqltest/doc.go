// Package sqltest tests package sqlqueue on real databases. It is a module of
// its own, so that their drivers are no requirement of fanfare.
package sqltest

import (
	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"
)

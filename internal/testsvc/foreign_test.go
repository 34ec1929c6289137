package testsvc

import "testing"

func TestForeign(t *testing.T) {
	for _, tt := range []struct {
		kind           kind
		raw, addr, url string // url: "" if it is raw
	}{
		{redis, "redis://cache.example:7000/3", "cache.example:7000", ""},
		{redis, "rediss://user:secret@cache.example", "cache.example:6379", ""},
		{redis, "redis://[::1]", "[::1]:6379", ""},
		{mariadb, "root@tcp(db.example:3307)/fanfare?parseTime=true", "db.example:3307", ""},
		{mariadb, "u:p@ss@tcp(db.example)/", "db.example:3306", ""},
		{mariadb, "mysql://u:p%40ss@db.example/shop?tls=true", "db.example:3306", "u:p@ss@tcp(db.example:3306)/shop?tls=true"},
		{mariadb, "mysql://root@[::1]:3307", "[::1]:3307", "root@tcp([::1]:3307)/"},
		{postgres, "postgres://u:secret@db.example/shop?sslmode=disable", "db.example:5432", ""},
		{postgres, "host=db.example port=5433 user=u", "db.example:5433", ""},
		{postgres, "host=db.example", "db.example:5432", ""},
	} {
		t.Setenv(tt.kind.variable(), tt.raw)
		if tt.url == "" {
			tt.url = tt.raw
		}
		s := (&shared{kind: tt.kind}).get(t)
		if s.Addr != tt.addr || s.URL != tt.url {
			t.Errorf("with %s: %s = %s, %s, want %s, %s", tt.raw, tt.kind.name, s.Addr, s.URL, tt.addr, tt.url)
		}
	}
	for _, tt := range []struct {
		kind kind
		raw  string
	}{
		{redis, "localhost:6379"},
		{redis, "redis://:7000"},
		{redis, "redis://[::1"},
		{mariadb, "root@unix(/run/mysqld/mysqld.sock)/"},
		{mariadb, "root@tcp(db.example/"},
		{mariadb, "mysql:///shop"},
		{postgres, "postgres:///shop"},
		{postgres, "user=u"},
	} {
		if addr, _, err := tt.kind.foreign(tt.raw); err == nil {
			t.Errorf("foreign(%q) = %s, want an error", tt.raw, addr)
		}
	}
}

package sqlqueue

import (
	"strconv"
	"strings"
)

// packed are rows in few parameters, so that the statement is the same for any
// number of them: all their bytes in one, and each column of numbers in one.
type packed struct {
	bytes   []byte
	columns [][]int64
}

// add adds a row: the place of its bytes, the length of each, and its numbers.
func (p *packed) add(numbers []int64, all ...[]byte) {
	row := []int64{int64(len(p.bytes)) + 1}
	for _, b := range all {
		p.bytes = append(p.bytes, b...)
		row = append(row, int64(len(b)))
	}
	row = append(row, numbers...)
	if p.columns == nil {
		p.columns = make([][]int64, len(row))
	}
	for i, n := range row {
		p.columns[i] = append(p.columns[i], n)
	}
}

// parameters returns the bytes and the columns of numbers, as the texts of arrays.
func (p *packed) parameters() []any {
	all := []any{p.bytes}
	for _, column := range p.columns {
		text := []byte{'{'}
		for i, n := range column {
			if i > 0 {
				text = append(text, ',')
			}
			text = strconv.AppendInt(text, n, 10)
		}
		all = append(all, string(append(text, '}')))
	}
	return all
}

// unpack is what reads packed rows in a FROM, under the names of their columns of
// numbers. The arrays are hidden in a SELECT: PostgreSQL, if it saw how long they
// are, would plan the statement anew each time.
func unpack(names ...string) string {
	const array = "(SELECT CAST(CAST(? AS text) AS bigint[]))"
	return "(SELECT CAST(? AS bytea) AS bytes OFFSET 0) b, unnest(" + array + strings.Repeat(", "+array, len(names)-1) + ") v(" + strings.Join(names, ", ") + ")"
}

package sqlqueue

import (
	"context"
	"slices"
	"strconv"

	"github.com/fanfare-go/fanfare/driver"
)

// areAcks reports whether settlements are some acks and nothing else.
func areAcks(all []driver.Settlement) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(one driver.Settlement) bool { return one.Verb != driver.Ack })
}

// ack settles in one statement those of some acks whose messages nobody has locked and for
// which RunAgain has kept nothing. It returns the indexes of the others.
func (b *Broker) ack(ctx context.Context, q driver.Queue, acks []driver.Settlement) ([]int, error) {
	var rows packed
	for _, one := range acks {
		rows.add([]int64{parseToken(one.Token)}, blob(one.ID))
	}
	acked := map[driver.Receipt]bool{}
	err := b.read(ctx, func(s session) error {
		return s.each(ctx, func(scan func(...any) error) error {
			var id []byte
			var token int64
			err := scan(&id, &token)
			acked[driver.Receipt{ID: string(id), Token: strconv.FormatInt(token, 36)}] = true
			return err
		}, "UPDATE {events} SET line = queue_id * 8 + 4, at = "+s.now+" + ?, ended = token, token = 0, last_error = '', body = ''"+
			" WHERE ctid = ANY(ARRAY(SELECT e.ctid FROM "+unpack("at", "id", "token")+", LATERAL (SELECT ctid FROM {events}"+
			" WHERE (SELECT version FROM {schema}) = ? AND queue_id = (SELECT id FROM {queues} WHERE topic = ? AND grp = ?)"+
			" AND id = substring(b.bytes FROM v.at::integer FOR v.id::integer)"+
			" AND token = v.token AND token <> 0 AND again = 0 FOR UPDATE SKIP LOCKED) e)) RETURNING id, ended",
			parameters(micros(b.window), rows.parameters(), layoutVersion, blob(q.Topic), blob(q.Group))...)
	})
	var left []int
	for i, one := range acks {
		if !acked[driver.Receipt{ID: one.ID, Token: one.Token}] {
			left = append(left, i)
		}
	}
	return left, err
}

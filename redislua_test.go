package fanfare

import (
	"os"
	"path/filepath"
	"strings"
)

// init takes the scripts from the directory that FANFARE_TEST_LUA names, if it
// does: so internal/cmd/mutate tests the tests.
func init() {
	dir := os.Getenv("FANFARE_TEST_LUA")
	if dir == "" {
		return
	}
	for names, script := range map[string]*redisScript{
		"push": pushScript, "update": updateScript, "choose lease": leaseScript, "choose end": endScript,
		"extend": extendScript, "settle": settleScript, "cancel": cancelScript, "reschedule": rescheduleScript,
		"requeue": requeueScript, "deletedead": deleteDeadScript, "purge": purgeScript, "forget": forgetScript,
		"subscribe": subscribeScript, "resume": resumeScript, "status": statusScript, "list": listScript,
		"get": getScript, "wake": wakeScript,
		"lockacquire": lockAcquireScript, "lockrenew": lockRenewScript, "lockrelease": lockReleaseScript,
	} {
		source := ""
		for name := range strings.FieldsSeq(names) {
			text, err := os.ReadFile(filepath.Join(dir, name+".lua"))
			if err != nil {
				panic(err)
			}
			source += string(text)
		}
		changed := newRedisScript(source)
		script.source, script.sha = changed.source, changed.sha
	}
}

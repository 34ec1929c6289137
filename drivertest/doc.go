// Package drivertest tests brokers against the contract of package driver, and
// has the reference broker that keeps messages in memory.
//
// A backend calls the suite from a test of its own:
//
//	func TestBroker(t *testing.T) {
//		drivertest.Run(t, drivertest.Harness{
//			New: func(t testing.TB, window time.Duration) driver.Broker {
//				b := open(t, window)
//				t.Cleanup(func() { b.Close() })
//				return b
//			},
//		})
//	}
//
// Each promise of the contract is a subtest that is named after it, such as
// "lease/extend never shortens a lease", so a failure says what is broken.
// Promises about an ability or a capability that the broker lacks are skipped,
// and the log says which; what a broker does not honour it must refuse.
//
// The suite runs in real time, with leases of 10 to 100 ms, and takes a few
// seconds. It is patient: nothing has to be sooner than [Harness].Slack, and the
// clock that counts is the broker's. Several subtests run at once, each with a
// broker from New and topics of its own.
//
// [Memory] serves the tests of code that uses a broker.
package drivertest

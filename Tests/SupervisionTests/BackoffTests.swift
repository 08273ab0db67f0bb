import Manifest
import Testing

@testable import Supervision

@Suite struct BackoffTests {
    @Test(arguments: [
        (0, 500), (1, 500), (2, 1000), (3, 2000), (4, 4000), (6, 16000), (7, 30000), (8, 30000), (1000, 30000),
        (Int.max, 30000), (-5, 500),
    ])
    func `the default pause doubles up to its ceiling`(failures: Int, milliseconds: Int) {
        #expect(backoff(afterFailures: failures, RestartSettings(), jitter: 0) == .milliseconds(milliseconds))
    }

    @Test(arguments: [(-1.0, 450), (-0.5, 475), (0.0, 500), (1.0, 550), (7.0, 550), (-7.0, 450), (Double.nan, 500)])
    func `jitter moves it by its share at most`(jitter: Double, milliseconds: Int) {
        #expect(backoff(afterFailures: 1, RestartSettings(), jitter: jitter) == .milliseconds(milliseconds))
    }

    @Test(
        arguments: [0, 1, 2, 1.5, .nan, .infinity, -1, 1e300],
        [Duration.zero, .milliseconds(1), .seconds(3600), .seconds(Int64.max)])
    func `any settings give a pause between 10 ms and twice the ceiling`(factor: Double, delay: Duration) {
        for ceiling in [Duration.zero, .seconds(1), .seconds(Int64.max)] {
            for share in [0, 0.1, 1, 5, .nan, .infinity] {
                let settings = RestartSettings(initialDelay: delay, maxDelay: ceiling, factor: factor, jitter: share)
                for failures in [0, 1, 2, 60, Int.max] {
                    let pause = backoff(afterFailures: failures, settings, jitter: 1)
                    #expect(pause >= .milliseconds(10))
                    #expect(pause <= max(.milliseconds(10), ceiling * 2))
                }
            }
        }
    }

    @Test func `a window allows so many starts and no more until they are old`() {
        let limit = RestartSettings.Limit(starts: 3, within: .seconds(10))
        var window = RestartWindow()
        let start = Instant(nanoseconds: 0)
        for second in [0, 1, 2] {
            #expect(window.allows(limit, at: start + .seconds(second)))
            window.record(limit, at: start + .seconds(second))
        }
        #expect(!window.allows(limit, at: start + .seconds(9)))
        #expect(window.allows(limit, at: start + .seconds(10)))
        window.record(limit, at: start + .seconds(10))
        #expect(!window.allows(limit, at: start + .milliseconds(10_500)))
        #expect(window.allows(limit, at: start + .seconds(11)))
        window.clear()
        #expect(window.allows(limit, at: start + .milliseconds(10_500)))
        #expect(window.allows(nil, at: start))
    }

    @Test func `arithmetic with time never overflows`() {
        let last = Instant(nanoseconds: .max - 5)
        #expect(last + .seconds(1) == .never)
        #expect(last + .seconds(Int64.max) == .never)
        #expect(last + .seconds(-1) == last)
        #expect(Instant(nanoseconds: .max).elapsed(since: Instant(nanoseconds: .min)) == .max)
        #expect(Instant(nanoseconds: 0).elapsed(since: last) == 0)
        #expect(Duration(secondsComponent: .max, attosecondsComponent: 0).wholeNanoseconds == .max)
        #expect(Instant(nanoseconds: .min).adding(-1) == Instant(nanoseconds: .min))
    }
}

import ControlAPI
import Events
import Why

/// An event as the page gets it: its line of JSON with one key more, `text`, which has it in the words of `supctl events`. So
/// there is one place that knows what a kind of event means, and the page shows one that was added yesterday.
enum WordedEvent {
    /// The line with its words; as it is if it cannot be read, for then the page shows its kind.
    static func line(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        // The keys end with the line's last byte: what is added stands before it.
        guard line.last == UInt8(ascii: "}"), let event = EventLine.event(line),
            let words = ControlJSON.encode(EventText.text(of: event).text)
        else { return line }
        return line.dropLast() + Array(",\"text\":".utf8) + words + [UInt8(ascii: "}")]
    }
}

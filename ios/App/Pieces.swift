import OsierKit
import OsierMobile
import SwiftUI

/// A fact with its name; a long press copies it.
struct Fact: View {
    let name: String
    let value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }

    var body: some View {
        LabeledContent(name) {
            Text(value).textSelection(.enabled).multilineTextAlignment(.trailing)
        }
    }
}

/// What should be known or done: a text with the way out beneath.
struct Notice: View {
    let image: String
    let colour: Color
    let text: String
    let fix: String?

    var body: some View {
        Label {
            VStack(alignment: .leading, spacing: 4) {
                Text(text)
                if let fix, !fix.isEmpty { Text(fix).font(.footnote).foregroundStyle(.secondary) }
            }
        } icon: {
            Image(systemName: image).foregroundStyle(colour)
        }
        .accessibilityElement(children: .combine)
    }
}

/// Why the last try did not work.
struct FailureNotice: View {
    @EnvironmentObject private var store: AppStore
    let action: Action
    let key: String

    init(_ action: Action, _ key: String) {
        self.action = action
        self.key = key
    }

    var body: some View {
        if let failure = store.state.failures[action] {
            Notice(
                image: "exclamationmark.triangle.fill", colour: .orange,
                text: store.texts[key, ["reason": failure.text]], fix: failure.fix)
        }
    }
}

extension Face {
    var image: String {
        switch self {
        case .off: return "circle"
        case .connecting: return "circle.dotted"
        case .connected: return "checkmark.circle.fill"
        case .limited: return "exclamationmark.circle.fill"
        case .attention: return "exclamationmark.triangle.fill"
        }
    }

    var colour: Color {
        switch self {
        case .off, .connecting: return .secondary
        case .connected: return .green
        case .limited: return .orange
        case .attention: return .red
        }
    }
}

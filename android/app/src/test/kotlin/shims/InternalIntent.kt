// What Robolectric needs of androidx.test:monitor, which is not on Maven Central. Kept to what is called.
package androidx.test.internal.runner.intent

import android.content.Intent
import androidx.test.runner.intent.IntentMonitor

class IntentMonitorImpl : IntentMonitor {
    override fun signalIntent(intent: Intent) = Unit
}

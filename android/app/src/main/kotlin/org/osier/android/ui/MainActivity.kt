package org.osier.android.ui

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ClipData
import android.content.ClipDescription
import android.content.ClipboardManager
import android.content.ComponentName
import android.content.Context
import android.content.Intent
import android.net.VpnService
import android.os.Build
import android.os.Bundle
import android.provider.Settings
import android.widget.Toast
import java.io.IOException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.android.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import org.osier.android.R
import org.osier.android.node
import org.osier.android.node.Command
import org.osier.android.node.UiState

/** The one window: it shows the node's state, passes commands on, and puts the system's questions to the user. */
class MainActivity : Activity(), Acts {
    private lateinit var frame: Frame
    private var visible: CoroutineScope? = null
    private var asking = false

    /** What the file that the user is choosing a place for will hold. */
    private var saving: (suspend () -> String)? = null

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        frame = Frame(Ui(this), this)
        setContentView(frame.view)
        savedInstanceState?.getString(PLACE)?.let { frame.open(Place.valueOf(it)) } ?: take(intent)
    }

    override fun onNewIntent(intent: Intent) {
        super.onNewIntent(intent)
        take(intent)
    }

    private fun take(intent: Intent) {
        if (intent.action == Intent.ACTION_VIEW) {
            send(Command.Offer(intent.dataString.orEmpty()))
            go(Place.JOIN)
        } else if (intent.component?.className == SWITCH_ON) send(Command.Switch(true))
    }

    override fun onStart() {
        super.onStart()
        val scope = CoroutineScope(android.os.Handler(mainLooper).asCoroutineDispatcher("screen"))
        visible = scope
        scope.launch { node.state.collect(::render) }
        send(Command.Watch(frame.screen.topic))
    }

    override fun onStop() {
        visible?.cancel()
        visible = null
        send(Command.Watch(null))
        send(Command.StopPing)
        super.onStop()
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(PLACE, frame.place.name)
    }

    private fun render(state: UiState) {
        if (state.askPermission && !asking) ask()
        frame.render(state)
    }

    /** Has the system put its question. */
    private fun ask() {
        val question = VpnService.prepare(this) ?: return send(Command.Permission(true))
        asking = true
        try {
            @Suppress("DEPRECATION")
            startActivityForResult(question, MAY_TUNNEL)
        } catch (none: ActivityNotFoundException) {
            // Televisions and the like without VPN.
            android.util.Log.w("osier", "no VPN can be set up here", none)
            answered(false)
        }
    }

    private fun answered(granted: Boolean) {
        asking = false
        send(Command.Permission(granted))
        if (granted && Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) {
            requestPermissions(arrayOf(Manifest.permission.POST_NOTIFICATIONS), MAY_NOTIFY)
        }
    }

    @Deprecated("Deprecated in Java")
    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        when (requestCode) {
            MAY_TUNNEL -> answered(resultCode == RESULT_OK)
            SCANNED -> data?.getStringExtra(ScanActivity.INVITE)?.let { send(Command.Offer(it)) }
            SAVED -> data?.data?.let(::write)
        }
    }

    private fun write(to: android.net.Uri) {
        val content = saving ?: return
        saving = null
        // Not tied to the window: what the user asked for is finished.
        CoroutineScope(Dispatchers.IO).launch {
            val text = content()
            val news = try {
                contentResolver.openOutputStream(to, "wt")?.use { it.write(text.toByteArray()) } ?: throw IOException()
                getString(R.string.phone_android_saved)
            } catch (error: IOException) {
                fill(R.string.app_save_failed, "reason" to (error.message ?: getString(R.string.app_unknown)))
            }
            withContext(android.os.Handler(mainLooper).asCoroutineDispatcher()) { tell(news) }
        }
    }

    private fun tell(news: String) = Toast.makeText(this, news, Toast.LENGTH_LONG).show()

    override fun send(command: Command) = node.send(command)

    override fun go(place: Place) {
        frame.open(place)
        send(Command.Watch(frame.screen.topic))
        frame.render(node.state.value)
    }

    override fun copy(label: String, text: String) {
        getSystemService(ClipboardManager::class.java).setPrimaryClip(ClipData.newPlainText(label, text))
        // Newer systems say so themselves.
        if (Build.VERSION.SDK_INT < Build.VERSION_CODES.TIRAMISU) tell(getString(R.string.app_copied))
    }

    override fun clipboard(): String? {
        val clip = getSystemService(ClipboardManager::class.java).primaryClip ?: return null
        if (!clip.description.hasMimeType(ClipDescription.MIMETYPE_TEXT_PLAIN) && clip.itemCount == 0) return null
        return clip.getItemAt(0).coerceToText(this)?.toString()
    }

    @Suppress("DEPRECATION")
    override fun scan() = startActivityForResult(Intent(this, ScanActivity::class.java), SCANNED)

    override fun save(name: String, type: String, content: suspend () -> String) {
        saving = content
        val choose = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE)
            .setType(type).putExtra(Intent.EXTRA_TITLE, name)
        start(choose, SAVED)
    }

    override fun systemVpnSettings() = start(Intent(Settings.ACTION_VPN_SETTINGS), NOTHING)

    private fun start(intent: Intent, code: Int) {
        try {
            @Suppress("DEPRECATION")
            startActivityForResult(intent, code)
        } catch (none: ActivityNotFoundException) {
            tell(fill(R.string.app_save_failed, "reason" to (none.message ?: getString(R.string.app_unknown))))
        }
    }

    @Deprecated("Deprecated in Java")
    override fun onBackPressed() {
        if (!frame.back()) finish()
    }

    companion object {
        /** Another name for this activity, which only this app may call it by. */
        const val SWITCH_ON = "org.osier.android.ui.SwitchOn"

        fun switchingOn(context: Context): Intent = Intent().setComponent(ComponentName(context, SWITCH_ON))

        private const val PLACE = "place"
        private const val MAY_TUNNEL = 1
        private const val MAY_NOTIFY = 2
        private const val SCANNED = 3
        private const val SAVED = 4
        private const val NOTHING = 5
    }
}

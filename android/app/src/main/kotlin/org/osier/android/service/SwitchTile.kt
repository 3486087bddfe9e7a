package org.osier.android.service

import android.annotation.SuppressLint
import android.app.PendingIntent
import android.content.Intent
import android.os.Build
import android.service.quicksettings.Tile
import android.service.quicksettings.TileService
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.android.asCoroutineDispatcher
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.osier.android.R
import org.osier.android.node
import org.osier.android.node.Command
import org.osier.android.node.UiState
import org.osier.android.ui.MainActivity
import org.osier.android.ui.stateLine
import org.osier.mobile.Face

/** The switch among the quick settings. */
class SwitchTile : TileService() {
    private val scope by lazy { CoroutineScope(android.os.Handler(mainLooper).asCoroutineDispatcher("tile")) }
    private var showing: Job? = null

    override fun onStartListening() {
        showing?.cancel()
        showing = scope.launch { node.state.collect(::show) }
    }

    override fun onStopListening() {
        showing?.cancel()
        showing = null
    }

    override fun onClick() {
        val state = node.state.value
        when {
            !state.joined -> open(Intent(this, MainActivity::class.java))
            state.line?.on == true -> node.send(Command.Switch(false))
            // The system's question needs a screen.
            android.net.VpnService.prepare(this) != null -> open(MainActivity.switchingOn(this))
            else -> node.send(Command.Switch(true))
        }
    }

    private fun show(state: UiState) {
        val tile = qsTile ?: return
        tile.label = getString(R.string.app_name)
        tile.subtitle = stateLine(state)
        tile.contentDescription = "${tile.label}, ${tile.subtitle}"
        tile.state = if (state.line?.on == true && state.line.face != Face.OFF) Tile.STATE_ACTIVE else Tile.STATE_INACTIVE
        tile.updateTile()
    }

    @SuppressLint("StartActivityAndCollapseDeprecated")
    private fun open(intent: Intent) {
        intent.addFlags(Intent.FLAG_ACTIVITY_NEW_TASK)
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.UPSIDE_DOWN_CAKE) {
            startActivityAndCollapse(PendingIntent.getActivity(this, 3, intent, PendingIntent.FLAG_IMMUTABLE))
        } else {
            @Suppress("DEPRECATION")
            startActivityAndCollapse(intent)
        }
    }

    override fun onDestroy() {
        scope.cancel()
        super.onDestroy()
    }
}

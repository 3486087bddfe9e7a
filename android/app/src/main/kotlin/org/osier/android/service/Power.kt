package org.osier.android.service

import android.content.BroadcastReceiver
import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.PowerManager

/** Whether the screen is on, and whether the system lets things rest (doze). */
internal class Power(private val context: Context, private val changed: (Boolean, Boolean) -> Unit) {
    private val manager = context.getSystemService(PowerManager::class.java)

    private val receiver = object : BroadcastReceiver() {
        override fun onReceive(context: Context, intent: Intent) = tell()
    }

    fun start() {
        val filter = IntentFilter().apply {
            addAction(Intent.ACTION_SCREEN_ON)
            addAction(Intent.ACTION_SCREEN_OFF)
            addAction(PowerManager.ACTION_DEVICE_IDLE_MODE_CHANGED)
            addAction(PowerManager.ACTION_DEVICE_LIGHT_IDLE_MODE_CHANGED)
        }
        // The system's own broadcasts come nevertheless.
        context.registerReceiver(receiver, filter, Context.RECEIVER_NOT_EXPORTED)
        tell()
    }

    fun stop() = context.unregisterReceiver(receiver)

    private fun tell() = changed(manager.isInteractive, manager.isDeviceIdleMode || manager.isDeviceLightIdleMode)
}

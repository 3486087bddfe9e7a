package org.osier.android.service

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.content.Context
import android.content.Intent
import org.osier.android.R
import org.osier.android.node.UiState
import org.osier.android.ui.MainActivity
import org.osier.android.ui.stateLine

/** The notification that keeps the service in the foreground: the state line, and the switch. */
internal class Notices(private val context: Context) {
    /** What it says; as a value, so that it is only posted when that changes. */
    data class Texts(val line: String, val on: Boolean)

    private val manager = context.getSystemService(NotificationManager::class.java)

    init {
        val name = context.getString(R.string.phone_android_channel)
        manager.createNotificationChannel(NotificationChannel(CHANNEL, name, NotificationManager.IMPORTANCE_LOW))
    }

    fun texts(state: UiState) = Texts(context.stateLine(state), state.line?.on == true)

    fun show(texts: Texts) = manager.notify(STATE, notification(texts))

    fun notification(texts: Texts): Notification {
        val open = PendingIntent.getActivity(context, 0, Intent(context, MainActivity::class.java), PendingIntent.FLAG_IMMUTABLE)
        val builder = Notification.Builder(context, CHANNEL)
            .setSmallIcon(R.drawable.ic_mark)
            .setColor(context.getColor(R.color.accent))
            .setContentTitle(context.getString(R.string.app_name))
            .setContentText(texts.line)
            .setContentIntent(open)
            .setOngoing(true)
            .setShowWhen(false)
            .setCategory(Notification.CATEGORY_SERVICE)
            .setForegroundServiceBehavior(Notification.FOREGROUND_SERVICE_IMMEDIATE)
        if (texts.on) builder.addAction(switchOff())
        return builder.build()
    }

    private fun switchOff(): Notification.Action {
        val intent = Intent(context, OsierVpnService::class.java).setAction(OsierVpnService.SWITCH_OFF)
        val pending = PendingIntent.getForegroundService(context, 1, intent, PendingIntent.FLAG_IMMUTABLE)
        return Notification.Action.Builder(null, context.getString(R.string.tray_turn_off), pending).build()
    }

    /** At boot, without the permission: nothing runs, and nobody sees a screen. */
    fun needsPermission() {
        val ask = MainActivity.switchingOn(context)
        val open = PendingIntent.getActivity(context, 2, ask, PendingIntent.FLAG_IMMUTABLE)
        val notice = Notification.Builder(context, CHANNEL)
            .setSmallIcon(R.drawable.ic_mark)
            .setColor(context.getColor(R.color.accent))
            .setContentTitle(context.getString(R.string.app_name))
            .setContentText(context.getString(R.string.phone_android_no_permission))
            .setContentIntent(open)
            .setAutoCancel(true)
            .build()
        manager.notify(PERMISSION, notice)
    }

    companion object {
        const val STATE = 1
        const val PERMISSION = 2
        private const val CHANNEL = "state"
    }
}
